"""Scores of image generators: features, their statistics, and distances between them."""
