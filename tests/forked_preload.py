"""What the fork server imports once, so that each child need not."""

import importlib

import accelerate
import matplotlib.figure
import PIL.Image
import timm
import torchvision.utils

import largegan.data.transforms
import largegan.parallel.replicated
import largegan.run.directory
import largegan.run.log
import largegan.run.session
import largegan.run.start
import largegan.trainer
import largegan.viz.report.page
import largegan.viz.training_grid
from largegan.recipes import TABLE, recipe_class

__all__ = ["PIL", "accelerate", "largegan", "matplotlib", "timm", "torchvision"]

for name in TABLE:
    importlib.import_module(recipe_class(name).__module__)
PIL.Image.init()  # its readers and writers of formats
