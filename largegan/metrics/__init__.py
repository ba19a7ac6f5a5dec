"""The mathematics of metrics: tensors in, numbers out."""
