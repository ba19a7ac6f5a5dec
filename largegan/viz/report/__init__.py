"""The report of runs: one file that a browser opens without a network."""
