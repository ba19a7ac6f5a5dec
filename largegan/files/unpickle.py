"""Reads the pickle format without executing it: plain containers, numbers, text and tensors.

A pickle is a program for a small stack machine, two of whose instructions call whatever the
program names. Here the machine is our own, and names lead nowhere (`pickle_calls.py`): those of
`CALLS` make tensors and containers of ours, those of `is_inert` stand for classes of networks and
become `Record`s that only remember what they were told, and every other name is refused before
anything happens. The module `pickle` is not used, and nothing is imported.

What a small file could blow up is bounded: instructions, containers, bytes made by instructions,
keys of dictionaries (text, bytes, small numbers), and how deep the result is nested.
"""

import pickletools
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from largegan.errors import DataError
from largegan.files.pickle_calls import CALLS, as_set, finished, known
from largegan.files.pickle_records import Mark, Name, Record, check_depth, checked_key, kind_of
from largegan.files.stored import StoredTensor

MOST_INSTRUCTIONS = 2_000_000
MOST_CONTAINERS = 1_000_000
SPARE_BYTES = 1 << 26


class Unpickler:
    """One file, which may hold several pickles one after the other.

    Args:
        file: bytes that can be sought, in memory or mapped.
        size: how many there are.
        persistent: makes something of what a pickle calls by an id of its own; torch's storages.
        nested: reads bytes within a pickle that are a file of torch's again.
    """

    def __init__(
        self,
        file: BinaryIO,
        size: int,
        *,
        persistent: Callable[[Any], Any] | None = None,
        nested: Callable[[bytes], Any] | None = None,
    ):
        self.file, self.persistent, self.nested = file, persistent, nested
        self.bytes_left = 2 * size + SPARE_BYTES
        self.containers = self.instructions = 0

    def load(self) -> Any:
        """The next pickle's object. Raises `DataError`."""
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        try:
            for code, argument in self._instructions():
                STEPS[code](self, argument)
            found = self._pop()
        except DataError:
            raise
        except RecursionError:
            raise DataError("is nested too deeply") from None
        except Exception as fault:  # what damaged bytes make of the machine has no end of kinds
            raise DataError(f"is damaged ({type(fault).__name__}: {str(fault)[:120]})") from fault
        check_depth(found)
        return found

    def _instructions(self) -> Iterator[tuple[str, Any]]:
        for code, argument, _ in pickletools.genops(self.file):
            self.instructions += 1
            if self.instructions > MOST_INSTRUCTIONS:
                raise DataError(f"has more than {MOST_INSTRUCTIONS:,} instructions")
            if code.name not in STEPS:
                raise DataError(f"uses the instruction {code.name}, which no checkpoint needs")
            yield code.name, argument

    def charge(self, count: int) -> None:
        """Notes bytes that an instruction makes."""
        self.bytes_left -= count
        if self.bytes_left < 0:
            raise DataError("makes more of its bytes than any checkpoint would")

    def _contain(self, value: Any) -> None:
        self.containers += 1
        if self.containers > MOST_CONTAINERS:
            raise DataError(f"makes more than {MOST_CONTAINERS:,} containers")
        self.stack.append(value)

    def _pop(self, count: int | None = None) -> Any:
        """The last value, or a list of the last `count`; never below the last mark."""
        floor = self.marks[-1] if self.marks else 0
        if len(self.stack) - floor < (1 if count is None else count):
            raise DataError("is damaged (its stack is empty)")
        if count is None:
            return self.stack.pop()
        taken = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return taken

    def _pop_mark(self) -> list:
        start = self.marks.pop()
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    # Instructions that make containers.

    def _tuple(self, values: list) -> None:
        self._contain(tuple(values))

    def _dict(self, values: list) -> None:
        self._contain({})
        self._set_items(values)

    def _set_items(self, values: list) -> None:
        target = self._pop()
        for key, value in zip(values[::2], values[1::2], strict=True):
            if isinstance(target, Record):
                target.items.append((key, value))
            elif isinstance(target, dict):
                target[checked_key(key)] = value
            else:
                raise DataError(f"sets an item of {kind_of(target)}")
        self.stack.append(target)

    def _extend(self, values: list) -> None:
        target = self._pop()
        target = target.items if isinstance(target, Record) else target
        if not isinstance(target, list):
            raise DataError(f"appends to {kind_of(target)}")
        target.extend(values)
        self.stack.append(target)

    def _add_items(self, values: list) -> None:
        target = self._pop()
        if not isinstance(target, set):
            raise DataError(f"adds to {kind_of(target)}")
        target.update(checked_key(value) for value in values)
        self.stack.append(target)

    # Instructions that name, call and describe.

    def _global(self, text: str) -> None:
        module, _, name = text.partition(" ")
        self.stack.append(known(Name(module, name)))

    def _stack_global(self, _: None) -> None:
        module, name = self._pop(2)
        if not isinstance(module, str) or not isinstance(name, str):
            raise DataError("calls something that is no name")
        self.stack.append(known(Name(module, name)))

    def _reduce(self, _: None) -> None:
        what, arguments = self._pop(2)
        self._contain(self.call(what, arguments))

    def call(self, what: Any, arguments: Any) -> Any:
        """What `what(*arguments)` stands for."""
        if not isinstance(what, Name) or not isinstance(arguments, tuple):
            raise DataError(f"calls {kind_of(what)}, which is no name")
        make = CALLS.get((what.module, what.name))
        return Record(what, arguments) if make is None else make(self, *arguments)

    def _new(self, _: None) -> None:
        self._reduce(None)

    def _new_with_names(self, _: None) -> None:
        what, arguments, named = self._pop(3)
        made = self.call(what, arguments)
        if isinstance(made, Record):
            made.items.extend(named.items() if isinstance(named, dict) else ())
        self._contain(made)

    def _instance(self, values: list) -> None:
        """Python 2's way: a class and its arguments."""
        if not values:
            raise DataError("calls nothing")
        self._contain(self.call(values[0], tuple(values[1:])))

    def _instance_by_name(self, text: str) -> None:
        module, _, name = text.partition(" ")
        arguments = tuple(self._pop_mark())
        self._contain(self.call(known(Name(module, name)), arguments))

    def _build(self, _: None) -> None:
        target, state = self._pop(2)
        if isinstance(target, Record | Mark):
            target.state = state
        elif not isinstance(target, dict | StoredTensor):  # attributes of theirs are of no use
            raise DataError(f"describes {kind_of(target)}")
        self.stack.append(finished(target))

    def _persistent(self, identity: Any) -> None:
        if self.persistent is None:
            raise DataError("refers to something outside the file")
        self.stack.append(self.persistent(identity))

    # The memo.

    def _get(self, index: Any) -> None:
        if int(index) not in self.memo:
            raise DataError("is damaged (it refers to what it did not make)")
        self.stack.append(self.memo[int(index)])

    def _put(self, index: Any) -> None:
        self.memo[int(index)] = self._peek()

    def _memoize(self, _: None) -> None:
        self.memo[len(self.memo)] = self._peek()

    def _peek(self) -> Any:
        self.stack.append(self._pop())
        return self.stack[-1]

    def _discard(self, _: None) -> None:
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self._pop()


def _push(reader: Unpickler, value: Any) -> None:
    reader.stack.append(value)


def _nothing(reader: Unpickler, _: Any) -> None:
    """Instructions that only structure the file."""


STEPS: dict[str, Callable[[Unpickler, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), _nothing),
    **dict.fromkeys(("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"), _push),
    **dict.fromkeys(("FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING"), _push),
    **dict.fromkeys(("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"), _push),
    **dict.fromkeys(("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"), _push),
    "BYTEARRAY8": lambda reader, value: _push(reader, bytes(value)),
    "NONE": lambda reader, _: _push(reader, None),
    "NEWTRUE": lambda reader, _: _push(reader, True),
    "NEWFALSE": lambda reader, _: _push(reader, False),
    "EMPTY_LIST": lambda reader, _: reader._contain([]),
    "EMPTY_DICT": lambda reader, _: reader._contain({}),
    "EMPTY_SET": lambda reader, _: reader._contain(set()),
    "EMPTY_TUPLE": lambda reader, _: reader.stack.append(()),
    "LIST": lambda reader, _: reader._contain(reader._pop_mark()),
    "TUPLE": lambda reader, _: reader._tuple(reader._pop_mark()),
    "TUPLE1": lambda reader, _: reader._tuple(reader._pop(1)),
    "TUPLE2": lambda reader, _: reader._tuple(reader._pop(2)),
    "TUPLE3": lambda reader, _: reader._tuple(reader._pop(3)),
    "DICT": lambda reader, _: reader._dict(reader._pop_mark()),
    "FROZENSET": lambda reader, _: reader._contain(as_set(reader, reader._pop_mark())),
    "APPEND": lambda reader, _: reader._extend(reader._pop(1)),
    "APPENDS": lambda reader, _: reader._extend(reader._pop_mark()),
    "SETITEM": lambda reader, _: reader._set_items(reader._pop(2)),
    "SETITEMS": lambda reader, _: reader._set_items(reader._pop_mark()),
    "ADDITEMS": lambda reader, _: reader._add_items(reader._pop_mark()),
    "MARK": lambda reader, _: reader.marks.append(len(reader.stack)),
    "POP": Unpickler._discard,
    "POP_MARK": lambda reader, _: reader._pop_mark() and None,
    "DUP": lambda reader, _: _push(reader, reader._peek()),
    "GET": Unpickler._get,
    "BINGET": Unpickler._get,
    "LONG_BINGET": Unpickler._get,
    "PUT": Unpickler._put,
    "BINPUT": Unpickler._put,
    "LONG_BINPUT": Unpickler._put,
    "MEMOIZE": Unpickler._memoize,
    "GLOBAL": Unpickler._global,
    "STACK_GLOBAL": Unpickler._stack_global,
    "REDUCE": Unpickler._reduce,
    "NEWOBJ": Unpickler._new,
    "NEWOBJ_EX": Unpickler._new_with_names,
    "OBJ": lambda reader, _: reader._instance(reader._pop_mark()),
    "INST": Unpickler._instance_by_name,
    "BUILD": Unpickler._build,
    "PERSID": Unpickler._persistent,
    "BINPERSID": lambda reader, _: reader._persistent(reader._pop()),
}
