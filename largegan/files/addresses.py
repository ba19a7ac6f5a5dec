"""Addresses of the web: as they may be sent, without their secrets, of the same host."""

import contextlib
import netrc
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from largegan.errors import HIDDEN, ConfigError, shown

HTTP = ("http", "https")


def checked_address(url: str) -> str:
    """An address as it may be sent: ASCII, with a host. Raises ConfigError."""
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or "").encode("idna").decode(), parts.port
        if parts.scheme not in HTTP or not host or " " in host or not host.isprintable():
            raise ValueError("it names no host")
    except ValueError as fault:  # UnicodeError, of hosts, is one
        raise ConfigError(f"{url} is no address ({shown(fault, 60)}); check it") from fault
    if HIDDEN in parts.netloc or HIDDEN in parts.query:
        raise ConfigError(
            f"{url} has {HIDDEN} where a password or token was left out; give the whole address"
        )
    safe = "/%:@!$&'()*+,;=~-._[]"
    path, query = quote(parts.path, safe=safe), quote(parts.query, safe=safe + "?")
    return urlunsplit((parts.scheme, parts.netloc, path or "/", query, ""))


def beside(url: str, name: str) -> str:
    """The address of a file in the same folder, with the same user and token."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=parts.path.rpartition("/")[0] + "/" + quote(name)))


def without_credentials(address: str) -> tuple[str, str | None]:
    """An address without user and password, and "user:password" for it, if anybody said."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    host = host if host.isascii() else host.encode("idna").decode()
    bare = urlunsplit(parts._replace(netloc=host))
    if parts.username is not None:
        return bare, f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    with contextlib.suppress(OSError, netrc.NetrcParseError, UnicodeError):
        user, _, password = netrc.netrc().hosts.get(parts.hostname or "", ("", "", ""))
        return bare, f"{user}:{password}" if user else None
    return bare, None


def same_host(address: str, other: str) -> bool:
    a, b = urlsplit(address), urlsplit(other)
    return (a.scheme, a.hostname, a.port) == (b.scheme, b.hostname, b.port)
