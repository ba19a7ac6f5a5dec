"""Errors a person can act on: one sentence with what, where and what to do, and an exit code."""


class UserError(Exception):
    """Base of all errors that are shown as one sentence, without a traceback."""

    exit_code = 1


class ConfigError(UserError):
    """A setting is unknown, of the wrong type, or cannot work with the others."""

    exit_code = 2


class DataError(UserError):
    """A shard, image or label is missing, damaged or not what the run expects."""

    exit_code = 3


class EnvironmentFault(UserError):
    """The machine, the launcher or a file system cannot do what the run needs."""

    exit_code = 4


class HealthStop(UserError):
    """Training was stopped because it no longer made sense to continue."""

    exit_code = 5


class Requeue(UserError):
    """The run was asked to stop, has saved itself, and wants to be started again."""

    exit_code = 75
