"""Differentiable augmentation of what a discriminator sees."""

from largegan.augment.ada import ADA
from largegan.augment.diffaugment import DiffAugment
from largegan.augment.pipeline import GROUPS, TRANSFORMS, augment

__all__ = ["ADA", "GROUPS", "TRANSFORMS", "DiffAugment", "augment"]
