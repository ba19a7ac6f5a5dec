"""The version, with which files of ours are marked."""

VERSION = "0.1.0"
