"""Drawing from a checkpoint: images by seed, and the sheets that people look at.

Image number s is a function of the checkpoint, of s and of its class: its latent comes from a
generator of its own. Batch, count and device only move the last bits of floating point.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from largegan import checkpoint
from largegan.errors import ConfigError, DataError
from largegan.layers.batch_norm import standing_statistics
from largegan.pictures import as_image, legible, to_uint8
from largegan.recipe import DataSpec, Recipe
from largegan.recipes import TABLE, recipe_class
from largegan.samples import generator

GAP, MARGIN = 2, 6  # pixels between images, and around text


@dataclass(frozen=True)
class Artist:
    """A checkpoint's averaged generator, ready to draw.

    `classes` are the labels that seeds take in turn: seed s has `classes[s % len(classes)]`.
    `truncation` is what the recipe makes of it, None for none; see `Recipe.truncate`.
    """

    recipe: Recipe
    spec: DataSpec
    class_names: tuple[str, ...]
    device: torch.device
    classes: tuple[int, ...] = ()
    truncation: float | None = None

    def latent(self, seed: int) -> Tensor:
        """`[z_dim]` on the host, so that every device draws the same."""
        return self.latents(1, generator(seed))[0]

    def latents(self, n: int, random: torch.Generator) -> Tensor:
        """`[n, z_dim]`, truncated where the recipe truncates latents."""
        z = self.recipe.latent(n, random)
        if self.truncation is None or hasattr(self.recipe, "decode_truncated"):
            return z
        return self.recipe.truncate(z, self.truncation, random)

    def truncated(self, amount: float | None) -> "Artist":
        """The same artist at another truncation. Raises ConfigError where there is none."""
        if amount is not None:
            check_truncation(self.recipe, amount)
        return replace(self, truncation=amount)

    def label(self, seed: int) -> int | None:
        return self.classes[seed % len(self.classes)] if self.classes else None

    def class_name(self, label: int) -> str:
        return self.class_names[label] if self.class_names else f"class {label}"

    def paint(self, latents: Tensor, labels: Sequence[int | None]) -> Tensor:
        """uint8 `[N, C, H, W]` on the host for latents `[N, z_dim]`, in one batch."""
        which = None
        if self.classes:
            which = torch.tensor(labels, device=self.device)
        return to_uint8(self.decode(latents.to(self.device), which)).cpu()

    def decode(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        """Float images in [-1, 1] on the device, from the averaged weights."""
        if self.truncation is not None and hasattr(self.recipe, "decode_truncated"):
            return self.recipe.decode_truncated(latents, labels, self.truncation)
        return self.recipe.decode(latents, labels)

    def by_seed(self, seeds: Sequence[int], *, batch: int) -> Iterator[tuple[int, Tensor]]:
        """`(seed, uint8 [C, H, W])` for each seed, `batch` of them at a time."""
        for start in range(0, len(seeds), batch):
            part = seeds[start : start + batch]
            latents = torch.stack([self.latent(s) for s in part])
            yield from zip(part, self.paint(latents, [self.label(s) for s in part]), strict=True)

    def rows(self, rows: Sequence[tuple[Tensor, int | None]]) -> Tensor:
        """uint8 `[R, N, C, H, W]` for rows of latents `[N, z_dim]` that share a class each."""
        return torch.stack([self.paint(z, [label] * len(z)) for z, label in rows])


def settle(artist: Artist, *, batches: int, batch: int, seed: int = 0) -> None:
    """Standing statistics (Brock et al., 2019, section 4): batch norm as sampling itself sees it.

    Replaces the running averages of training by the mean over `batches` batches of generated
    images, at the artist's truncation and over its classes evenly. Nets without batch norm, and
    those that do not draw, stay as they are.
    """
    random = generator(seed)
    with standing_statistics(artist.recipe):
        for _ in range(batches):
            labels = None
            if artist.classes:
                picks = torch.randint(len(artist.classes), (batch,), generator=random)
                labels = torch.tensor(artist.classes)[picks].to(artist.device)
            artist.decode(artist.latents(batch, random).to(artist.device), labels)


def open_artist(
    path: Path,
    device: torch.device | str,
    *,
    classes: str | None = None,
    truncation: float | None = None,
) -> Artist:
    """The artist of a checkpoint or of a run's newest one.

    Args:
        path: RUN or RUN/checkpoints/NNNNNNNNN.
        device: where to compute.
        classes: numbers and names of classes, with commas; None for all.
        truncation: above 0; what it does is the recipe's choice. None for none.

    Raises:
        ConfigError: nothing there; a recipe, class or truncation that cannot be.
        DataError: the checkpoint is incomplete or damaged.
    """
    path = checkpoint.resolve(path)
    fault = checkpoint.damage(path)
    if fault:
        raise DataError(f"checkpoint {path} {fault}; choose another one of that run")
    state = json.loads((path / checkpoint.STATE).read_text())
    spec = DataSpec(**state["spec"])
    recipe = rebuild(path, state["config"]["recipe"], spec)
    if recipe.directions:
        raise ConfigError(
            f"recipe {state['config']['recipe']['name']} translates images and draws none of its "
            "own; give it some: tools/translate.py"
        )
    if truncation is not None:
        check_truncation(recipe, truncation)
    names = tuple(state["class_names"])
    # A recipe may leave the classes of its data aside; then there is nothing to choose from.
    available = getattr(recipe, "num_classes", 0)
    chosen = choose_classes(classes, available, names)
    return Artist(recipe.to(device), spec, names, torch.device(device), chosen, truncation)


def rebuild(path: Path, options: dict, spec: DataSpec) -> Recipe:
    """The recipe of a checkpoint with its weights; the optimizers' file stays unread."""
    options = dict(options)
    name = options.pop("name")
    if name not in TABLE:
        raise ConfigError(
            f"checkpoint {path} is of recipe {name}, which this version of largegan does not have; "
            f"it has {', '.join(TABLE)}"
        )
    try:
        recipe = recipe_class(name)(spec, **options)
    except TypeError as fault:
        raise ConfigError(
            f"checkpoint {path} has options that recipe {name} does not take here ({fault}); use "
            "the version of largegan that wrote it"
        ) from fault
    model = load_file(path / checkpoint.MODEL)
    checkpoint.check_model(path, model, checkpoint.unaliased(recipe.state_dict()))
    # Not strict: of tensors with two names the file holds one; check_model saw that none lacks.
    recipe.load_state_dict(model, strict=False)
    return recipe.eval()


def check_truncation(recipe: Recipe, amount: float) -> None:
    if not amount > 0:
        raise ConfigError(f"truncation is {amount:g}; it must be above 0")
    if not has_normal_latents(recipe):
        raise ConfigError(
            f"recipe {type(recipe).__name__} draws uniform latents; truncation is for normal ones, "
            "so leave it out"
        )


def choose_classes(text: str | None, available: int, names: Sequence[str]) -> tuple[int, ...]:
    """Labels from "0,3,cat"; all of them for None, none when the recipe has no classes."""
    if text is None:
        return tuple(range(available))
    if not available:
        raise ConfigError(
            "this checkpoint was trained without classes; leave out the choice of them"
        )
    return tuple(one_class(word.strip(), available, names) for word in text.split(","))


def one_class(word: str, available: int, names: Sequence[str]) -> int:
    if word in names:
        return names.index(word)
    if not word.isdecimal():
        known = f"one of {', '.join(names)}" if names else f"a number from 0 to {available - 1}"
        raise ConfigError(f"there is no class {word!r}; give {known}")
    if int(word) >= available:
        raise ConfigError(f"there is no class {word}; classes are 0 to {available - 1}")
    return int(word)


def has_normal_latents(recipe: Recipe) -> bool:
    """Whether latents are normal. Recipes draw them either so or uniformly from [-1, 1].

    Measured, not declared: of a thousand normal numbers some are beyond 1, of uniform ones none.
    """
    probe = recipe.latent(1000, generator(0))
    return bool(probe.abs().max() > 1)


def straight(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """`[steps, z_dim]` from `a` to `b` on a line: stays within a uniform cube."""
    t = torch.linspace(0, 1, steps)[:, None]
    return torch.lerp(a, b, t)


def spherical(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """`[steps, z_dim]` from `a` to `b` along an arc: keeps the length that normal latents have.

    Slerp (Shoemake, 1985) with the angle between the directions, as in White (2016).
    """
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=0).clamp(-1, 1)
    angle = torch.arccos(cosine)
    if angle.sin() < 1e-4:  # the same direction or opposite ones: there is no arc to follow
        return straight(a, b, steps)
    t = torch.linspace(0, 1, steps)[:, None]
    return (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)


def sheet(
    images: Tensor, *, row_names: Sequence[str] = (), column_names: Sequence[str] = ()
) -> Tensor:
    """uint8 `[R, N, C, H, W]` -> one picture `[C', H', W']`, white between, names at the edges."""
    from torchvision.utils import make_grid

    pixels = legible(images.flatten(0, 1))
    picture = make_grid(pixels, nrow=images.shape[1], padding=GAP, pad_value=255)
    if not (row_names or column_names):
        return picture
    cell = (pixels.shape[2] + GAP, pixels.shape[3] + GAP)
    return with_names(picture, cell, row_names, column_names)


def with_names(
    picture: Tensor, cell: tuple[int, int], row_names: Sequence[str], column_names: Sequence[str]
) -> Tensor:
    """Adds a margin on the left for the names of rows, and one above for those of columns."""
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    size = max(10, min(24, cell[0] // 3))
    font = ImageFont.load_default(size)
    left = MARGIN * 2 + max((int(font.getlength(n)) for n in row_names), default=-2 * MARGIN)
    top = size + MARGIN * 2 if column_names else 0
    body = as_image(picture).convert("RGB")
    canvas = Image.new("RGB", (body.width + left, body.height + top), "white")
    canvas.paste(body, (left, top))
    pen = ImageDraw.Draw(canvas)
    for i, name in enumerate(row_names):
        pen.text((MARGIN, top + (i + 0.5) * cell[0]), name, "black", font, anchor="lm")
    for i, name in enumerate(column_names):
        pen.text((left + (i + 0.5) * cell[1], top / 2), name, "black", font, anchor="mm")
    return torch.from_numpy(np.array(canvas)).permute(2, 0, 1)


def fill(images: Iterable[Tensor], *, rows: int, columns: int) -> Tensor:
    """Images `[C, H, W]` -> `[rows, columns, C, H, W]`, row by row, white where they run out."""
    found = torch.stack(list(images))
    blank = torch.full_like(found[:1], 255).expand(rows * columns - len(found), -1, -1, -1)
    return torch.cat([found, blank]).unflatten(0, (rows, columns))
