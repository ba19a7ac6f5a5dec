"""Files of statistics: ours, clean-fid's and NVIDIA's. Nothing in them is executed.

Ours are .safetensors (mean, covariance, optionally features; how they were made as metadata) or
.npz with clean-fid's names, which clean-fid reads too. NVIDIA's are .npz with mu and sigma, or
pickles, which are read by an interpreter that knows numpy arrays and nothing else.
"""

import io
import json
import pickle
import pickletools
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import torch
from msgspec import Meta
from safetensors.torch import save_file
from torch import Tensor

from largegan.errors import DataError, shown
from largegan.files import output
from largegan.files.arrays import Npz
from largegan.files.documents import parse_document, read_bounded
from largegan.files.tensors import read_header, read_tensors
from largegan.metrics.moments import Gaussian

LARGEST = 2 << 30  # bytes of a file of statistics
SUFFIXES = (".safetensors", ".npz", ".pkl")


@dataclass(frozen=True)
class Statistics:
    """Mean and covariance of a set's features; `made` says how, {} when the file does not.

    `features` float32 `[n, d]` are kept when scores other than Fréchet's may be wanted.
    """

    gaussian: Gaussian
    made: dict[str, Any]
    features: Tensor | None = None


def is_statistics(path: Path) -> bool:
    """Whether a file is of this kind: an npz of images is not."""
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        return False
    if path.suffix.lower() != ".npz":
        return True
    try:
        with Npz(path) as arrays:
            return "mu" in arrays and "sigma" in arrays
    except DataError:
        return False


def write_statistics(path: Path, statistics: Statistics) -> None:
    """By the ending of `path`, in one step. Raises `EnvironmentFault`."""
    gaussian, made = statistics.gaussian, json.dumps(statistics.made, sort_keys=True)
    with output.writing(path, ending=path.suffix.lower()) as partial:
        if path.suffix.lower() == ".npz":
            count = -1 if gaussian.count is None else gaussian.count
            mean, covariance = gaussian.mean.numpy(), gaussian.covariance.numpy()
            arrays = {"mu": mean, "sigma": covariance, "n": count, "made": made}
            np.savez(partial, **{output.MARK: np.int8(1)}, **arrays)  # first: see `made_here`
        else:
            tensors = {"mean": gaussian.mean, "covariance": gaussian.covariance}
            if statistics.features is not None:
                tensors["features"] = statistics.features.float()
            tensors = {name: t.cpu().contiguous() for name, t in tensors.items()}
            save_file(tensors, partial, {"made": made, "count": json.dumps(gaussian.count)})


def read_statistics(path: Path) -> Statistics:
    """Any of the kinds above. Raises `DataError` for what cannot be read or is not statistics."""
    readers = {".safetensors": _read_safetensors, ".npz": _read_npz, ".pkl": _read_pickle}
    if path.suffix.lower() not in readers:
        raise DataError(f"{path} is no file of statistics; they end in {', '.join(SUFFIXES)}")
    try:
        statistics = readers[path.suffix.lower()](path)
    except DataError:
        raise
    except Exception as fault:  # damaged files fail in every way there is
        raise DataError(
            f"{path} cannot be read as statistics ({type(fault).__name__}: {fault}); make it again"
        ) from fault
    gaussian = statistics.gaussian
    if not (gaussian.mean.isfinite().all() and gaussian.covariance.isfinite().all()):
        raise DataError(f"{path} holds numbers that are not finite; make it again")
    if (
        not gaussian.dim
        or gaussian.mean.ndim != 1
        or gaussian.covariance.shape != (gaussian.dim, gaussian.dim)
    ):
        raise DataError(
            f"{path} has a mean of shape {list(gaussian.mean.shape)} and a covariance of "
            f"{list(gaussian.covariance.shape)}; they do not belong together"
        )
    variances, covariance = gaussian.covariance.diagonal(), gaussian.covariance
    slack = 1e-6 * float(variances.abs().max())  # of sums of squares in another order
    if variances.min() < -slack or not covariance.allclose(covariance.T, rtol=1e-3, atol=slack):
        raise DataError(f"{path} holds a covariance that none can be; make it again")
    return statistics


def _read_safetensors(path: Path) -> Statistics:
    _, notes = read_header(path)
    tensors, about = read_tensors(path), _notes(path, notes.get("count"), notes.get("made"))
    for name in ("mean", "covariance"):
        if name not in tensors:
            raise DataError(f"{path} has no tensor {name}; give statistics for FID")
    gaussian = Gaussian(tensors["mean"].double(), tensors["covariance"].double(), about.count)
    return Statistics(gaussian, about.made, tensors.get("features"))


class Notes(msgspec.Struct):
    """What a file says of its statistics."""

    count: Annotated[int, Meta(ge=1, le=1 << 53)] | None = None
    made: dict[str, Any] = {}


def _notes(path: Path, count: str | None, made: str | None) -> Notes:
    """Of the JSON texts in a file. Raises DataError."""
    text = f'{{"count": {count or "null"}, "made": {made or "{}"}}}'
    remedy = "make it again"
    what = "has notes of another kind than ours"
    return parse_document(text, Notes, where=str(path), what=what, remedy=remedy)


def _read_npz(path: Path) -> Statistics:
    with Npz(path, most=LARGEST) as file:
        count = None
        if "n" in file and (n := file.array("n", kinds="iu")).ndim == 0 and n > 0:
            count = str(int(n))
        made = file.text("made") if "made" in file and output.MARK in file else None
        about = _notes(path, count, made)
        return Statistics(_gaussian(file.array("mu"), file.array("sigma"), about.count), about.made)


def _read_pickle(path: Path) -> Statistics:
    """{"fid": {"mu", "sigma"}} or {"mu", "sigma"} (references), or a cache of sums."""
    data = read_bounded(path, LARGEST, "give statistics for FID")
    content = read_plain_pickle(data, where=str(path))
    if isinstance(content, dict) and isinstance(content.get("fid"), dict):
        content = content["fid"]
    if isinstance(content, dict) and {"mu", "sigma"} <= set(content):
        return Statistics(_gaussian(content["mu"], content["sigma"], None), {})
    if isinstance(content, dict) and {"raw_mean", "raw_cov", "num_items"} <= set(content):
        n = content["num_items"]
        if isinstance(n, np.generic):
            n = n.item()
        if not isinstance(n, int) or not 2 <= n <= 1 << 53:
            raise DataError(f"{path} holds sums of {n!r:.60} images; make it again")
        if content["raw_mean"] is None:
            raise DataError(f"{path} holds features, not their mean and covariance; make it again")
        for name in ("raw_mean", "raw_cov"):
            if not isinstance(content[name], np.ndarray):
                raise DataError(f"{path} holds a {name} that is no array; make it again")
        mean = np.asarray(content["raw_mean"], np.float64) / n
        # The cache divides by n; ours, like numpy.cov and clean-fid, by n - 1.
        covariance = np.asarray(content["raw_cov"], np.float64) / n - np.outer(mean, mean)
        return Statistics(_gaussian(mean, covariance * (n / (n - 1)), n), {})
    raise DataError(
        f"{path} holds neither mu and sigma nor sums of features; give statistics for FID"
    )


def _gaussian(mean: Any, covariance: Any, count: int | None) -> Gaussian:
    if not all(isinstance(x, np.ndarray) and x.dtype.kind in "fiu" for x in (mean, covariance)):
        raise DataError("holds a mean or covariance that is no array of numbers")
    mean, covariance = (torch.from_numpy(np.array(x, np.float64)) for x in (mean, covariance))
    return Gaussian(mean, covariance, count if count is None or count > 0 else None)


class _Note:
    """Stands in for what numpy would make while a pickle is read: keeps what it is told."""

    def __init__(self, *told: Any):
        self.told = told
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Array(_Note):
    """An array, made empty and filled afterwards: (version, shape, dtype, fortran, bytes)."""


class _Buffer(_Note):
    """An array as protocol 5 has it: made of (bytes, dtype, shape, order)."""


class _Scalar(_Note):
    """One number: made of (dtype, bytes)."""


class _Dtype(_Note):
    """A type, made of its name, told (version, byte order, ...) afterwards."""


class _Plain(pickle.Unpickler):
    """Looks no name up: a few of numpy's become notes, every other one is refused."""

    NAMES = {  # noqa: RUF012
        "numpy.ndarray": _Note,
        "numpy.dtype": _Dtype,
        "multiarray._reconstruct": _Array,
        "multiarray.scalar": _Scalar,
        "numeric._frombuffer": _Buffer,
        "dnnlib.util.EasyDict": dict,
        "_codecs.encode": lambda text, encoding: text.encode("latin1"),  # bytes in protocol 2
    }

    def find_class(self, module: str, name: str) -> Any:
        for package in ("numpy._core.", "numpy.core."):
            module = module.removeprefix(package)
        if f"{module}.{name}" not in self.NAMES:
            raise DataError(f"names {module}.{name}, which statistics have no use for")
        return self.NAMES[f"{module}.{name}"]


def read_plain_pickle(data: bytes, *, where: str) -> Any:
    """Dictionaries, lists, numbers, text and numpy arrays of a pickle, without running it.

    A pickle is a program that may call anything it can name. Here it can name nothing: names of
    numpy give inert notes, from which the arrays are made afterwards. Raises `DataError`.
    """
    try:
        _refuse_large_claims(data)
        return _with_arrays(_Plain(io.BytesIO(data)).load())
    except DataError as fault:
        raise DataError(f"{where} is not read: its pickle {fault}") from fault
    except Exception as fault:  # a damaged pickle fails in every way there is
        what = f"{type(fault).__name__}: {shown(fault)}"
        raise DataError(f"{where} cannot be read: its pickle is damaged ({what})") from fault


def _refuse_large_claims(data: bytes) -> None:
    """Raises DataError for opcodes that make Python reserve more than the file has."""
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in ("LONG_BINPUT", "BINPUT", "PUT") and argument > len(data):
            raise DataError("numbers what it remembers beyond its length")
        if opcode.name in ("LONG", "LONG1", "LONG4", "INT") and argument.bit_length() > 256:
            raise DataError("holds a number of hundreds of digits")


DEEPEST, MOST = 8, 10_000  # levels, and values, of a pickle of statistics


def _with_arrays(value: Any, depth: int = 0, left: list[int] | None = None) -> Any:
    """Notes of arrays become arrays; what is deep, or shares parts without end, is refused."""
    left = [MOST] if left is None else left
    left[0] -= 1
    if depth > DEEPEST or left[0] < 0:
        raise DataError("holds more than statistics: lists within lists, or very many of them")
    if isinstance(value, dict):
        return {key: _with_arrays(item, depth + 1, left) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_with_arrays(item, depth + 1, left) for item in value)
    if isinstance(value, _Scalar):
        dtype, content = value.told
        return _numbers(content, dtype)[0]
    if isinstance(value, _Buffer):
        content, dtype, shape, order = value.told
        return _numbers(content, dtype).reshape(shape, order=order)
    if isinstance(value, _Array) and value.state is not None:
        _, shape, dtype, fortran, content = value.state
        return _numbers(content, dtype).reshape(shape, order="F" if fortran else "C")
    if isinstance(value, _Note):
        raise DataError("holds something of numpy that is not an array of numbers")
    return value


def _numbers(content: Any, dtype: Any) -> np.ndarray:
    if not isinstance(content, (bytes, bytearray)):
        raise DataError("holds an array without its bytes")
    return np.frombuffer(bytes(content), _dtype(dtype))


def _dtype(note: Any) -> np.dtype:
    """Numbers only."""
    dtype = np.dtype(note.told[0])
    if dtype.kind not in "fiub":
        raise DataError(f"holds an array of {dtype}")
    order = note.state[1] if note.state else "="
    return dtype if order == "|" else dtype.newbyteorder(order)
