"""Errors a person can act on: one sentence with what, where and what to do, and an exit code."""

import errno
import re

# user:password@ of an address; a password may hold what it should not, such as a slash.
SIGNED_IN = re.compile(
    r"(?P<scheme>\b[A-Za-z][A-Za-z0-9+.-]*://)"
    r"(?:[^\s/?#@]*@|[^\s/?#@:]*:(?!\d*(?:[/?#]|\s|$))[^\s@]*@)"
)
QUERY = re.compile(r"(?P<address>\b[A-Za-z][A-Za-z0-9+.-]*://[^\s?]*)\?(?P<query>\S*)")
HEADER = re.compile(r"(?i)(?P<name>\b(?:proxy-)?authorization:\s*(?:\w+\s+)?)[^\s\"']+")
HIDDEN = "***"
CLOSING = ";,.:)]}>'\""  # what a sentence sets behind an address


class UserError(Exception):
    """Base of all errors that are shown as one sentence, without a traceback.

    As text it is one line that can be printed, and holds no password, whatever it was made of.
    """

    exit_code = 1
    known_to_all = False  # every rank raises it: nobody needs to be told

    def __str__(self) -> str:
        return one_line(super().__str__())


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


def one_line(text: str) -> str:
    """A sentence as it may be shown: on one line, printable, without passwords."""
    return without_secrets(printable(re.sub(r"\s*[\r\n]+\s*", " ", text.strip())))


def printable(text: str) -> str:
    """Text with what cannot be printed escaped, bytes of names that are no UTF-8 included."""
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a pair of UTF-16, which is no byte of a name
        data = text.encode("utf-8", "backslashreplace")
    text = data.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def without_secrets(text: str) -> str:
    """Text with what only its owner should know of an address left out.

    These are user and password, and the values of a query, which are tokens and signatures.
    """
    text = SIGNED_IN.sub(rf"\g<scheme>{HIDDEN}@", text)
    return HEADER.sub(rf"\g<name>{HIDDEN}", QUERY.sub(_hidden_query, text))


def _hidden_query(found: re.Match) -> str:
    query = found["query"].rstrip(CLOSING)
    behind = found["query"][len(query) :]
    names = [part.partition("=")[0] if "=" in part else "" for part in query.split("&")]
    hidden = "&".join(f"{name}={HIDDEN}" if name else HIDDEN for name in names)
    return f"{found['address']}?{hidden}{behind}"


def shown(path: object, longest: int = 150) -> str:
    """A path for a sentence: one line, what cannot be printed escaped, the middle left out."""
    text = printable(str(path))
    return text if len(text) <= longest else f"{text[: longest // 2]}...{text[-longest // 2 :]}"


def reason(fault: OSError) -> str:
    """Why, in few words."""
    known = {
        errno.ENOSPC: "the disk is full",
        errno.EDQUOT: "your quota of disk space is used up",
        errno.EFBIG: "the disk takes no file of that size",
        errno.ENAMETOOLONG: "the name is too long",
        errno.ENOTDIR: "a file stands where a folder should",
    }
    return known.get(fault.errno or 0, fault.strerror or str(fault))


def of_the_machine(fault: OSError | MemoryError) -> EnvironmentFault:
    """The sentence for a fault that nothing looked at more closely."""
    if isinstance(fault, MemoryError):
        return EnvironmentFault("there is not enough memory for this; ask for less at once")
    where = f"{shown(fault.filename)}: " if fault.filename else ""
    return EnvironmentFault(f"{where}{reason(fault)}; check the path and the disk")
