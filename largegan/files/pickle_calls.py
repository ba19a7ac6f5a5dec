"""What the names that a pickle calls stand for: something of ours, a record, or a refusal."""

import re
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from largegan.errors import DataError
from largegan.files.pickle_records import Mark, Name, Record, checked_key, kind_of
from largegan.files.stored import DTYPES, Storage, StoredArray, StoredTensor

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


class Reader(Protocol):
    """What these ask of the machine that reads a pickle; see `unpickle.Unpickler`."""

    nested: Callable[[bytes], Any] | None

    def call(self, what: Any, arguments: Any) -> Any: ...

    def charge(self, count: int) -> None: ...


def is_inert(name: Name) -> bool:
    """Whether objects of this class become records."""
    if (name.module, name.name) in INERT:
        return True
    return bool(INERT_MODULES.fullmatch(name.module)) and name.name.isidentifier()


def known(name: Name) -> Name:
    """Raises `DataError` for a name that neither makes something of ours nor is inert."""
    if (name.module, name.name) not in CALLS and not is_inert(name):
        raise DataError(
            f"calls {str(name)[:120]!r}, which no checkpoint or set of images that can be read "
            "needs: it may be hostile, and nothing of it was executed; of a code that is not known "
            "here, give the state dictionary of a network"
        )
    return name


def _ordered(reader: Reader, pairs: Any = ()) -> dict:
    return {checked_key(key): value for key, value in pairs}


def as_set(reader: Reader, values: Any = ()) -> set:
    return {checked_key(value) for value in values}


def _encode(reader: Reader, text: str, encoding: str = "utf-8") -> bytes:
    """Bytes, as protocol 2 has them."""
    if encoding not in ("latin1", "latin-1", "utf-8", "utf8"):
        raise DataError(f"encodes text as {str(encoding)[:40]}")
    reader.charge(2 * len(text))
    return text.encode(encoding)


def _bytearray(reader: Reader, content: bytes = b"", encoding: str = "latin-1") -> bytes:
    return _encode(reader, content, encoding) if isinstance(content, str) else bytes(content)


def _tensor(
    reader: Reader, storage: Any, offset: int, shape: tuple, stride: tuple, *_: Any
) -> StoredTensor:
    if not isinstance(storage, Storage):
        raise DataError(f"makes a tensor of {kind_of(storage)}")
    return StoredTensor(storage, offset, tuple(shape), tuple(stride))


def _parameter(reader: Reader, data: Any, *_: Any) -> Any:
    return data


def _retyped(reader: Reader, make: Any, kind: Any, arguments: Any, state: Any) -> Any:
    """A tensor with attributes, or of a class of its own."""
    return reader.call(make, arguments)


def _storage_in_bytes(reader: Reader, content: Any) -> Any:
    if reader.nested is None or not isinstance(content, bytes):
        raise DataError("holds a tensor within a tensor")
    return reader.nested(content)


def _plain_tuple(reader: Reader, values: Any = ()) -> tuple:
    return tuple(values)


def _text(reader: Reader, *words: Any) -> str:
    return ":".join(str(word) for word in words)[:80]


def _persistent_object(reader: Reader, meta: dict) -> Record:
    """NVlabs' objects carry their own source code, which is left where it is."""
    kind = Name("torch_utils.persistence", str(meta["class_name"])[:80])
    return Record(kind, (), meta["state"])


def _reconstructed(reader: Reader, kind: Any, *_: Any) -> Any:
    return reader.call(kind, ())


def _array(reader: Reader, *arguments: Any) -> Mark:
    return Mark("array", arguments)


def _dtype(reader: Reader, code: Any, *_: Any) -> Mark:
    return Mark("dtype", (code,))


def _scalar(reader: Reader, dtype: Any, content: Any) -> Any:
    return np.frombuffer(content, numpy_dtype(dtype), 1)[0].item()


def _from_buffer(reader: Reader, content: Any, dtype: Any, shape: Any, order: Any) -> Any:
    return StoredArray(bytes(content), numpy_dtype(dtype), tuple(shape), order == "F")


def finished(value: Any) -> Any:
    """An array that has been told all it needs."""
    if isinstance(value, Mark) and value.kind == "array":
        _, shape, dtype, fortran, content = value.state
        if isinstance(content, str):  # bytes, as Python 2 wrote them
            content = content.encode("latin-1")
        if not isinstance(content, bytes):
            raise DataError("holds an array of something else than numbers")
        return StoredArray(content, numpy_dtype(dtype), tuple(shape), bool(fortran))
    return value


def numpy_dtype(told: Any) -> np.dtype:
    """Numbers only."""
    if not isinstance(told, Mark) or told.kind != "dtype":
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
    CALLS[_module, "set"] = CALLS[_module, "frozenset"] = as_set
    CALLS[_module, "bytearray"] = _bytearray
for _module in ("numpy.core", "numpy._core"):
    CALLS[f"{_module}.multiarray", "_reconstruct"] = _array
    CALLS[f"{_module}.multiarray", "scalar"] = _scalar
    CALLS[f"{_module}.numeric", "_frombuffer"] = _from_buffer
