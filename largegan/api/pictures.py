"""Pictures of a caller, in and out: PIL, numpy, torch, or the path of a file.

PIL images and files are 8 bits a color; numpy arrays are uint8 or uint16, `[H, W]`, `[H, W, C]` or
`[N, H, W, C]`; tensors are uint8 or floats in [-1, 1], `[C, H, W]` or `[N, C, H, W]`. The answer
has the form of the question.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from largegan.errors import ConfigError, DataError, shown
from largegan.files import photos
from largegan.files.archives import LARGEST_MEMBER
from largegan.files.documents import read_bounded
from largegan.files.photos import BadImage, Photo
from largegan.sampler import to_uint8
from largegan.viz.pictures import as_image

Form = Literal["numpy", "pil", "torch"]
FORMS = ("numpy", "pil", "torch")
WHITE = (255, 255, 255)
KINDS = "a PIL image, a numpy array, a tensor, the path of a file, or a list of these"


@dataclass(frozen=True)
class Given:
    """Pictures that came in: float32 `[C, H, W]` in [-1, 1] each, and how to answer."""

    images: list[Tensor]
    form: Form
    one: bool  # whether a single picture was given, and a single one is wanted

    def answer(self, made: Sequence[Tensor], form: Form | None = None) -> Any:
        """Float `[C, H, W]` each, in the form of the question or another; see `shaped`."""
        found = shaped(made, form or self.form)
        return found[0] if self.one else found


def shaped(made: Sequence[Tensor], form: Form) -> Any:
    """Float images `[C, H, W]` in [-1, 1] as a caller wants them.

    "numpy": uint8 `[N, H, W, C]`; "pil": a list of images; "torch": float32 `[N, C, H, W]` on the
    device. Of several sizes: a list. Raises ConfigError for another form.
    """
    if form not in FORMS:
        raise ConfigError(f"the form {form!r} is none of {', '.join(FORMS)}")
    if form == "torch":
        return _together(list(made), torch.stack)
    pixels = [to_uint8(image[None])[0].cpu() for image in made]
    if form == "pil":
        return [as_image(image) for image in pixels]
    return _together([image.permute(1, 2, 0).contiguous().numpy() for image in pixels], np.stack)


def _together(images: list, stack) -> Any:
    return stack(images) if len({image.shape for image in images}) == 1 else images


def take(images: Any, channels: int) -> Given:
    """What a caller gave, for a network of so many channels. Raises ConfigError, DataError."""
    several = images if isinstance(images, list | tuple) else _unbound(images)
    if several is not None and not len(several):
        raise ConfigError(f"there is no picture; give {KINDS}")
    each = [images] if several is None else list(several)
    taken = [_unit(image, channels) for image in each]
    return Given(taken, _form_of(each[0]), several is None)


def _unbound(images: Any) -> list | None:
    """The pictures of a batch; None for a single one."""
    several = isinstance(images, np.ndarray | Tensor) and images.ndim == 4
    return list(images) if several else None


def _form_of(image: Any) -> Form:
    if isinstance(image, Tensor):
        return "torch"
    return "numpy" if isinstance(image, np.ndarray) else "pil"


def _unit(image: Any, channels: int) -> Tensor:
    """float32 `[channels, H, W]` in [-1, 1]."""
    name = shown(image) if isinstance(image, str | Path) else "a picture"
    try:
        if isinstance(image, Tensor) and image.is_floating_point():
            return _of_floats(image, channels)
        photo = _photo(image)
        pixels = photos.for_network(photo, channels, WHITE)
        unit = photos.scale_for(pixels.dtype, None).to_unit(pixels)
    except BadImage as fault:
        raise DataError(f"{name} {fault}") from fault
    return torch.from_numpy(np.ascontiguousarray(unit)).permute(2, 0, 1)


def _photo(image: Any) -> Photo:
    if isinstance(image, str | Path):
        return photos.read(_bytes(Path(image).expanduser()))
    if isinstance(image, Image.Image):
        with photos.decoder_faults():
            return photos.of_pil(image)
    if isinstance(image, Tensor):
        image = image.permute(1, 2, 0).cpu().numpy() if image.ndim == 3 else image.cpu().numpy()
    if not isinstance(image, np.ndarray):
        raise ConfigError(f"a picture is a {type(image).__name__}; give {KINDS}")
    return _of_array(image)


def _of_array(image: np.ndarray) -> Photo:
    pixels = image[..., None] if image.ndim == 2 else image
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 2, 3, 4) or not pixels.size:
        raise BadImage(f"has the shape {list(image.shape)}; it needs 1 to 4 channels, [H, W, C]")
    if pixels.dtype.newbyteorder("=") == np.uint16:
        pixels = pixels.astype(np.uint16)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise BadImage(f"has numbers of type {pixels.dtype}; give uint8 or uint16")
    if pixels.shape[2] in (2, 4):
        return Photo(pixels[..., :-1], pixels[..., -1])
    return Photo(pixels)


def _of_floats(image: Tensor, channels: int) -> Tensor:
    image = image.detach().float()
    if image.ndim != 3 or image.shape[0] != channels or not image.numel():
        raise BadImage(f"has the shape {list(image.shape)}; floats are [{channels}, H, W]")
    if not bool((image.abs() <= 1).all()):
        raise BadImage("has numbers beyond [-1, 1], or NaN; scale it")
    return image


def _bytes(path: Path) -> bytes:
    try:
        return read_bounded(path, LARGEST_MEMBER, "choose another")
    except FileNotFoundError:
        raise ConfigError(f"there is no picture {shown(path)}") from None
