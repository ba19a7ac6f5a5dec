"""Data: shards packed in random order, read by index, in an order that is a pure function."""

from largegan.data.domains import Domains, framed, open_stream
from largegan.data.index import DataInfo
from largegan.data.opening import open_for
from largegan.data.source import open_data
from largegan.data.stream import Stream

__all__ = ["DataInfo", "Domains", "Stream", "framed", "open_data", "open_for", "open_stream"]
