"""The Python interface: what `largegan.load` returns, and pictures in and out of it."""
