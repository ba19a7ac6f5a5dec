"""Files of statistics: ours, clean-fid's and NVIDIA's. Nothing in them is executed.

Ours are .safetensors (mean, covariance, optionally features; how they were made as metadata) or
.npz with clean-fid's names, which clean-fid reads too. NVIDIA's are .npz with mu and sigma, or
pickles, which are read by an interpreter that knows numpy arrays and nothing else.
"""

import io
import json
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from largegan.errors import DataError
from largegan.files import output
from largegan.metrics.moments import Gaussian

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
    if path.suffix not in SUFFIXES or not path.is_file():
        return False
    if path.suffix != ".npz":
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            return {"mu.npy", "sigma.npy"} <= set(archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def write_statistics(path: Path, statistics: Statistics) -> None:
    """By the ending of `path`, in one step. Raises `EnvironmentFault`."""
    gaussian, made = statistics.gaussian, json.dumps(statistics.made, sort_keys=True)
    with output.writing(path) as partial:
        if path.suffix == ".npz":
            count = -1 if gaussian.count is None else gaussian.count
            mean, covariance = gaussian.mean.numpy(), gaussian.covariance.numpy()
            np.savez(partial, mu=mean, sigma=covariance, n=count, made=made)
        else:
            tensors = {"mean": gaussian.mean, "covariance": gaussian.covariance}
            if statistics.features is not None:
                tensors["features"] = statistics.features.float()
            tensors = {name: t.cpu().contiguous() for name, t in tensors.items()}
            save_file(tensors, partial, {"made": made, "count": json.dumps(gaussian.count)})


def read_statistics(path: Path) -> Statistics:
    """Any of the kinds above. Raises `DataError` for what cannot be read or is not statistics."""
    readers = {".safetensors": _read_safetensors, ".npz": _read_npz, ".pkl": _read_pickle}
    if path.suffix not in readers:
        raise DataError(f"{path} is no file of statistics; they end in {', '.join(SUFFIXES)}")
    try:
        statistics = readers[path.suffix](path)
    except DataError:
        raise
    except Exception as fault:  # damaged files fail in every way there is
        raise DataError(
            f"{path} cannot be read as statistics ({type(fault).__name__}: {fault}); make it again"
        ) from fault
    gaussian = statistics.gaussian
    if gaussian.mean.ndim != 1 or gaussian.covariance.shape != (gaussian.dim, gaussian.dim):
        raise DataError(
            f"{path} has a mean of shape {list(gaussian.mean.shape)} and a covariance of "
            f"{list(gaussian.covariance.shape)}; they do not belong together"
        )
    return statistics


def _read_safetensors(path: Path) -> Statistics:
    with safe_open(path, "pt") as file:
        facts = file.metadata() or {}
        gaussian = Gaussian(
            file.get_tensor("mean").double(),
            file.get_tensor("covariance").double(),
            json.loads(facts.get("count", "null")),
        )
        features = file.get_tensor("features") if "features" in file.keys() else None  # noqa: SIM118
    return Statistics(gaussian, json.loads(facts.get("made", "{}")), features)


def _read_npz(path: Path) -> Statistics:
    with np.load(path, allow_pickle=False) as file:
        count = int(file["n"]) if "n" in file and file["n"].ndim == 0 else None
        made = json.loads(str(file["made"])) if "made" in file else {}
        return Statistics(_gaussian(file["mu"], file["sigma"], count), made)


def _read_pickle(path: Path) -> Statistics:
    """{"fid": {"mu", "sigma"}} or {"mu", "sigma"} (references), or a cache of sums."""
    content = read_plain_pickle(path.read_bytes(), where=str(path))
    if isinstance(content, dict) and isinstance(content.get("fid"), dict):
        content = content["fid"]
    if isinstance(content, dict) and {"mu", "sigma"} <= set(content):
        return Statistics(_gaussian(content["mu"], content["sigma"], None), {})
    if isinstance(content, dict) and {"raw_mean", "raw_cov", "num_items"} <= set(content):
        n = int(content["num_items"])
        if content["raw_mean"] is None:
            raise DataError(f"{path} holds features, not their mean and covariance; make it again")
        mean = np.asarray(content["raw_mean"], np.float64) / n
        # The cache divides by n; ours, like numpy.cov and clean-fid, by n - 1.
        covariance = np.asarray(content["raw_cov"], np.float64) / n - np.outer(mean, mean)
        return Statistics(_gaussian(mean, covariance * (n / (n - 1)), n), {})
    raise DataError(
        f"{path} holds neither mu and sigma nor sums of features; give statistics for FID"
    )


def _gaussian(mean: Any, covariance: Any, count: int | None) -> Gaussian:
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
        "_codecs.encode": lambda text, encoding: text.encode(encoding),  # bytes in protocol 2
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
        return _settle(_Plain(io.BytesIO(data)).load())
    except DataError as fault:
        raise DataError(f"{where} is not read: its pickle {fault}") from fault


def _settle(value: Any) -> Any:
    """Notes of arrays become arrays, at any depth."""
    if isinstance(value, dict):
        return {key: _settle(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_settle(item) for item in value)
    if isinstance(value, _Scalar):
        dtype, content = value.told
        return np.frombuffer(content, _dtype(dtype))[0]
    if isinstance(value, _Buffer):
        content, dtype, shape, order = value.told
        return np.frombuffer(bytes(content), _dtype(dtype)).reshape(shape, order=order)
    if isinstance(value, _Array) and value.state is not None:
        _, shape, dtype, fortran, content = value.state
        return np.frombuffer(content, _dtype(dtype)).reshape(shape, order="F" if fortran else "C")
    if isinstance(value, _Note):
        raise DataError("holds something of numpy that is not an array of numbers")
    return value


def _dtype(note: Any) -> np.dtype:
    """Numbers only."""
    dtype = np.dtype(note.told[0])
    if dtype.kind not in "fiub":
        raise DataError(f"holds an array of {dtype}")
    order = note.state[1] if note.state else "="
    return dtype if order == "|" else dtype.newbyteorder(order)
