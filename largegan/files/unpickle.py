"""Reads the pickle format without executing it: plain containers, numbers, text and tensors.

A pickle is a program for a small stack machine, two of whose instructions call whatever the
program names. Here the machine is our own, and names lead nowhere: those of `CALLS` make tensors
and containers of ours, those of `is_inert` stand for classes of networks and become `Record`s that
only remember what they were told, and every other name is refused before anything happens. The
module `pickle` is not used, and nothing is imported.

What a small file could blow up is bounded: instructions, containers, bytes made by instructions,
keys of dictionaries (text, bytes, small numbers), and how deep the result is nested.
"""

import pickletools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from largegan.errors import DataError
from largegan.files.stored import DTYPES, Storage, StoredArray, StoredTensor

MOST_INSTRUCTIONS = 2_000_000
MOST_CONTAINERS = 1_000_000
MOST_DEPTH = 200
SPARE_BYTES = 1 << 26
LARGEST_KEY = 1 << 53

# Classes of networks and of their settings, whose objects become records.
INERT_MODULES = re.compile(
    r"(torch\.nn|torch\.optim|torch\.distributions|training|torch_utils|dnnlib|R3GAN|pg_modules"
    r"|timm|torchvision\.(models|ops|transforms))(\.\w+)*"
)
INERT = {
    ("argparse", "Namespace"),
    ("types", "SimpleNamespace"),
    ("pathlib", "PosixPath"),
    ("pathlib", "WindowsPath"),
    ("functools", "partial"),
    ("builtins", "object"),
    ("__builtin__", "object"),
    ("torch", "Tensor"),
    *(("torch", name) for name in DTYPES),
    *(("torch", name.replace("Storage", "Tensor")) for name in DTYPES),
    *(("torch", str(dtype).removeprefix("torch.")) for dtype in DTYPES.values()),
}


@dataclass(frozen=True)
class Name:
    """What a pickle calls by `module.name`."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Record:
    """An object that was not made: of which class, from what, and what it was told afterwards."""

    kind: Name
    arguments: tuple = ()
    state: Any = None
    items: list = field(default_factory=list)  # what was appended to it, or set in it


class _Mark:
    """A numpy array or type while it is being described."""

    def __init__(self, kind: str, arguments: tuple):
        self.kind, self.arguments, self.state = kind, arguments, None


def is_inert(name: Name) -> bool:
    """Whether objects of this class become records."""
    if (name.module, name.name) in INERT:
        return True
    return bool(INERT_MODULES.fullmatch(name.module)) and name.name.isidentifier()


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
        if isinstance(target, Record | _Mark):
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


def known(name: Name) -> Name:
    """Raises `DataError` for a name that neither makes something of ours nor is inert."""
    if (name.module, name.name) not in CALLS and not is_inert(name):
        raise DataError(
            f"calls {str(name)[:120]!r}, which no checkpoint or set of images that can be read "
            "needs: it may be hostile, and nothing of it was executed; of a code that is not known "
            "here, give the state dictionary of a network"
        )
    return name


def kind_of(value: Any) -> str:
    return (
        str(value)[:120] if isinstance(value, Name) else f"a value of type {type(value).__name__}"
    )


def checked_key(key: Any) -> Any:
    """Keys whose hash costs nothing."""
    small = type(key) in (int, bool) and abs(key) < LARGEST_KEY
    if small or key is None or type(key) in (str, bytes):
        return key
    raise DataError(f"has {kind_of(key)} as a key")


def children(value: Any) -> Iterator[Any]:
    """What lies directly in a container."""
    if isinstance(value, dict):
        return iter(value.values())
    if isinstance(value, list | tuple):
        return iter(value)
    if isinstance(value, Record):
        return iter((value.arguments, value.state, value.items))
    return iter(())


def check_depth(root: Any) -> None:
    """Raises `DataError` for what is nested more than `MOST_DEPTH` deep; cycles are no depth."""
    seen, level = {id(root)}, [root]
    for _ in range(MOST_DEPTH):
        below = []
        for value in level:
            for child in children(value):
                if isinstance(child, dict | list | tuple | Record) and id(child) not in seen:
                    seen.add(id(child))
                    below.append(child)
        if not below:
            return
        level = below
    raise DataError(f"is nested more than {MOST_DEPTH} deep")


# What the names of `CALLS` make.


def _ordered(reader: Unpickler, pairs: Any = ()) -> dict:
    return {checked_key(key): value for key, value in pairs}


def _set(reader: Unpickler, values: Any = ()) -> set:
    return {checked_key(value) for value in values}


def _encode(reader: Unpickler, text: str, encoding: str = "utf-8") -> bytes:
    """Bytes, as protocol 2 has them."""
    if encoding not in ("latin1", "latin-1", "utf-8", "utf8"):
        raise DataError(f"encodes text as {str(encoding)[:40]}")
    reader.charge(2 * len(text))
    return text.encode(encoding)


def _bytearray(reader: Unpickler, content: bytes = b"", encoding: str = "latin-1") -> bytes:
    return _encode(reader, content, encoding) if isinstance(content, str) else bytes(content)


def _tensor(
    reader: Unpickler, storage: Any, offset: int, shape: tuple, stride: tuple, *_: Any
) -> StoredTensor:
    if not isinstance(storage, Storage):
        raise DataError(f"makes a tensor of {kind_of(storage)}")
    return StoredTensor(storage, offset, tuple(shape), tuple(stride))


def _parameter(reader: Unpickler, data: Any, *_: Any) -> Any:
    return data


def _retyped(reader: Unpickler, make: Any, kind: Any, arguments: Any, state: Any) -> Any:
    """A tensor with attributes, or of a class of its own."""
    return reader.call(make, arguments)


def _storage_in_bytes(reader: Unpickler, content: Any) -> Any:
    if reader.nested is None or not isinstance(content, bytes):
        raise DataError("holds a tensor within a tensor")
    return reader.nested(content)


def _plain_tuple(reader: Unpickler, values: Any = ()) -> tuple:
    return tuple(values)


def _text(reader: Unpickler, *words: Any) -> str:
    return ":".join(str(word) for word in words)[:80]


def _persistent_object(reader: Unpickler, meta: dict) -> Record:
    """NVlabs' objects carry their own source code, which is left where it is."""
    kind = Name("torch_utils.persistence", str(meta["class_name"])[:80])
    return Record(kind, (), meta["state"])


def _reconstructed(reader: Unpickler, kind: Any, *_: Any) -> Any:
    return reader.call(kind, ())


def _array(reader: Unpickler, *arguments: Any) -> _Mark:
    return _Mark("array", arguments)


def _dtype(reader: Unpickler, code: Any, *_: Any) -> _Mark:
    return _Mark("dtype", (code,))


def _scalar(reader: Unpickler, dtype: Any, content: Any) -> Any:
    return np.frombuffer(content, numpy_dtype(dtype), 1)[0].item()


def _from_buffer(reader: Unpickler, content: Any, dtype: Any, shape: Any, order: Any) -> Any:
    return StoredArray(bytes(content), numpy_dtype(dtype), tuple(shape), order == "F")


def finished(value: Any) -> Any:
    """An array that has been told all it needs."""
    if isinstance(value, _Mark) and value.kind == "array":
        _, shape, dtype, fortran, content = value.state
        if isinstance(content, str):  # bytes, as Python 2 wrote them
            content = content.encode("latin-1")
        if not isinstance(content, bytes):
            raise DataError("holds an array of something else than numbers")
        return StoredArray(content, numpy_dtype(dtype), tuple(shape), bool(fortran))
    return value


def numpy_dtype(told: Any) -> np.dtype:
    """Numbers only."""
    if not isinstance(told, _Mark) or told.kind != "dtype":
        raise DataError(f"has {kind_of(told)} as the type of an array")
    code = told.arguments[0]
    if not isinstance(code, str) or not re.fullmatch(r"[<>=|]?[fiub]\d{1,2}", code):
        raise DataError(f"holds an array of {str(code)[:40]}")
    order = told.state[1] if isinstance(told.state, tuple) and len(told.state) > 1 else "="
    dtype = np.dtype(code)
    return dtype.newbyteorder(order) if order in ("<", ">") else dtype


CALLS: dict[tuple[str, str], Callable] = {
    ("collections", "OrderedDict"): _ordered,
    ("dnnlib.util", "EasyDict"): _ordered,
    ("easydict", "EasyDict"): _ordered,
    ("_codecs", "encode"): _encode,
    ("copyreg", "_reconstructor"): _reconstructed,
    ("copy_reg", "_reconstructor"): _reconstructed,
    ("torch", "Size"): _plain_tuple,
    ("torch", "device"): _text,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _retyped,
    ("torch.storage", "_load_from_bytes"): _storage_in_bytes,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent_object,
    ("numpy", "dtype"): _dtype,
    ("numpy", "ndarray"): _array,
}
for _module in ("builtins", "__builtin__"):
    CALLS[_module, "set"] = CALLS[_module, "frozenset"] = _set
    CALLS[_module, "bytearray"] = _bytearray
for _module in ("numpy.core", "numpy._core"):
    CALLS[f"{_module}.multiarray", "_reconstruct"] = _array
    CALLS[f"{_module}.multiarray", "scalar"] = _scalar
    CALLS[f"{_module}.numeric", "_frombuffer"] = _from_buffer


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
    "FROZENSET": lambda reader, _: reader._contain(_set(reader, reader._pop_mark())),
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
