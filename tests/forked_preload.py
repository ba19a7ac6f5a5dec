"""What the fork server imports once, so that each child need not."""

import accelerate
import matplotlib.figure
import torchvision.utils

import largegan.data.transforms
import largegan.parallel.replicated
import largegan.recipes.dcgan
import largegan.recipes.gan
import largegan.recipes.sngan
import largegan.recipes.wgan_gp
import largegan.run.directory
import largegan.run.log
import largegan.run.start
import largegan.trainer
import largegan.viz.training_grid

__all__ = ["accelerate", "largegan", "matplotlib", "torchvision"]
