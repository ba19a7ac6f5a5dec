"""NVRTC, NVIDIA's run-time compiler: CUDA C++ in, machine code out, by ctypes alone.

Every CUDA build of torch brings it along, so nothing has to be installed: no nvcc, no host
compiler, no CUDA_HOME. It needs neither a GPU nor a driver.
"""

import ctypes as ct
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import torch

from largegan.errors import EnvironmentFault

KNOWN_MAJORS = (13, 12)


class Compiler:
    """A loaded NVRTC: `path`, `version` (13, 2), and the GPU `architectures` (75, 80, ...)."""

    def __init__(self, path: str, library):
        self.path, self.library = path, library
        library.nvrtcGetErrorString.restype = ct.c_char_p
        major, minor, count = ct.c_int(), ct.c_int(), ct.c_int()
        self._check(library.nvrtcVersion(ct.byref(major), ct.byref(minor)))
        self._check(library.nvrtcGetNumSupportedArchs(ct.byref(count)))
        known = (ct.c_int * count.value)()
        self._check(library.nvrtcGetSupportedArchs(known))
        self.version, self.architectures = (major.value, minor.value), tuple(sorted(known))

    def target(self, capability: int) -> str:
        """What to compile for on a GPU of `capability` (90 is 9.0).

        "sm_90", its own machine code. For a GPU newer than this NVRTC "compute_NN", the newest
        code in between (PTX), which the driver translates.
        """
        if capability in self.architectures:
            return f"sm_{capability}"
        older = [a for a in self.architectures if a < capability]
        if not older:
            raise EnvironmentFault(
                f"NVRTC {_dotted(self.version)} knows no GPU as old as compute capability "
                f"{capability / 10:.1f}; use a torch build for an older CUDA"
            )
        return f"compute_{older[-1]}"

    def compile(
        self, name: str, source: str, headers: dict[str, str], target: str, options: Sequence[str]
    ) -> tuple[bytes, str]:
        """(a cubin, or PTX where `target` is of the kind compute_NN; the compiler's log)."""
        options = [f"--gpu-architecture={target}", *options]
        program = ct.c_void_p()
        names, texts = _strings(headers), _strings(headers.values())
        arguments = (source.encode(), name.encode(), len(headers), texts, names)
        self._check(self.library.nvrtcCreateProgram(ct.byref(program), *arguments))
        try:
            failed = self.library.nvrtcCompileProgram(program, len(options), _strings(options))
            log = self._read("nvrtcGetProgramLog", program).decode(errors="replace").rstrip("\0")
            if failed:
                raise EnvironmentFault(f"NVRTC refuses {name}: {_first_error(log)}")
            kind = "nvrtcGetPTX" if target.startswith("compute_") else "nvrtcGetCUBIN"
            return self._read(kind, program), log
        finally:
            self.library.nvrtcDestroyProgram(ct.byref(program))

    def _read(self, getter: str, program: ct.c_void_p) -> bytes:
        size = ct.c_size_t()
        self._check(getattr(self.library, getter + "Size")(program, ct.byref(size)))
        buffer = ct.create_string_buffer(size.value)
        self._check(getattr(self.library, getter)(program, buffer))
        return buffer.raw

    def _check(self, result: int) -> None:
        if result:
            text = self.library.nvrtcGetErrorString(result)
            raise EnvironmentFault(f"NVRTC at {self.path} failed: {text.decode()}")


@cache
def compiler() -> Compiler:
    """The NVRTC of torch's own CUDA version; raises EnvironmentFault where there is none."""
    tried = []
    for path in candidates():
        try:
            return Compiler(path, _load(path))
        except (OSError, AttributeError) as error:  # not there, or not the library it seems
            tried.append(f"{path}: {error}")
    raise EnvironmentFault(
        "no NVRTC library was found; install the package nvidia-cuda-nvrtc in the version of "
        f"torch's CUDA ({torch.version.cuda}). Tried: {'; '.join(tried)}"
    )


def candidates() -> Iterator[str]:
    """Paths of NVRTC: as torch's wheels bring it, inside torch, of the environment, by name."""
    cuda = torch.version.cuda
    for major in (int(cuda.split(".")[0]),) if cuda else KNOWN_MAJORS:
        name = f"libnvrtc.so.{major}"
        for folder in folders(major):
            if (folder / name).exists():
                yield str(folder / name)
        for path in sorted(Path(torch.__file__).parent.glob(f"lib/libnvrtc-*.so.{major}*")):
            yield str(path)
        yield name


def folders(major: int) -> Iterator[Path]:
    """Where wheels, torch and the environment put libraries of a CUDA version."""
    spec = importlib.util.find_spec("nvidia")  # a namespace of many wheels, in many folders
    for root in spec.submodule_search_locations or () if spec else ():
        yield Path(root) / f"cu{major}" / "lib"
        yield Path(root) / "cuda_nvrtc" / "lib"
    yield Path(torch.__file__).parent / "lib"
    yield Path(sys.prefix) / "lib"


def _load(path: str) -> ct.CDLL:
    # NVRTC opens its builtins by their bare name, which is found only if it is loaded already.
    for builtins in sorted(Path(path).parent.glob("libnvrtc-builtins*.so*")) if "/" in path else ():
        ct.CDLL(str(builtins), mode=ct.RTLD_GLOBAL)
    return ct.CDLL(path)


def _strings(texts) -> ct.Array:
    return (ct.c_char_p * len(texts))(*(t.encode() for t in texts))


def _first_error(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return next(
        (line for line in lines if "error" in line), " ".join(lines[:2]) or "no reason given"
    )


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
