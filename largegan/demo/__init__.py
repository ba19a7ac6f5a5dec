"""A page to try a model on, served on this machine: `largegan demo`."""
