"""largegan: one trainer for image GANs. Importing it is cheap; torch loads with what needs it."""

__version__ = "0.1.0"
