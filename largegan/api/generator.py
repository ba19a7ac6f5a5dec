"""A trained generator in Python: images by seed, latent, style or class; codes; projection."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from largegan.api.asking import (
    check_batch,
    check_number,
    checked_seeds,
    numbers,
    refuse_beside,
    several,
    which_seeds,
    whole,
)
from largegan.api.inversion import distance_from
from largegan.api.pictures import Form, Given, shaped, take
from largegan.api.precision import Precision
from largegan.errors import ConfigError
from largegan.recipe import HasStyles, TruncatesStyles, title_of
from largegan.sampler import (
    Sampler,
    Toward,
    check_toward,
    from_uint8,
    one_class,
    seeded,
    to_uint8,
)
from largegan.viz.directions import Directions, find_directions
from largegan.viz.inversion import invert
from largegan.viz.paths import path_images

Label = int | str | Sequence[int | str] | None


class Asked(NamedTuple):
    """Which latents a person asked for; see `Generator.sample`."""

    n: int | None
    seed: int | None
    seeds: Sequence[int] | None
    z: Any


class Projection(NamedTuple):
    """What `Generator.project` found."""

    w: Tensor  # [1, num_ws, w_dim], on the host: for `sample(w=...)`
    image: Any  # in the form of the picture that was given
    distance: float


class Generator:
    """What `largegan.load` returns for a recipe that draws.

    Attributes:
        recipe: its name in the table of recipes.
        nimg: images seen in training; 0 if that is not known.
        height, width, channels: of its images.
        class_names: of its classes, "class 0", ... where they have no names; empty without.
        z_dim: numbers in a latent.
        device: where it computes.
        nets: its averaged networks, by their names.
        sampler: what draws underneath (`largegan.sampler`).
    """

    def __init__(self, sampler: Sampler, recipe: str, nimg: int, precision: Precision):
        self.sampler, self._precision = sampler, precision
        self.recipe, self.nimg, self.device = recipe, nimg, sampler.device
        spec = sampler.spec
        self.height, self.width, self.channels = spec.height, spec.width, spec.channels
        self.class_names = tuple(sampler.class_name(label) for label in sampler.classes)
        self.z_dim = sampler.recipe.latent(1, seeded(0)).shape[1]
        sampler.recipe.requires_grad_(False)

    def __repr__(self) -> str:
        classes = f", {len(self.class_names)} classes" if self.class_names else ""
        size = f"{self.channels}x{self.height}x{self.width}"
        return f"<{self.recipe} generator of {size} images{classes}, on {self.device}>"

    @property
    def nets(self) -> dict[str, nn.Module]:
        return dict(self.sampler.recipe.named_children())

    @torch.no_grad()
    def sample(
        self,
        n: int | None = None,
        *,
        seed: int | None = None,
        seeds: Sequence[int] | None = None,
        z: Any = None,
        w: Any = None,
        label: Label = None,
        truncation: float | None = None,
        toward: Toward = "mean",
        batch: int = 64,
        to: Form = "numpy",
    ) -> Any:
        """Images.

        Args:
            n: how many (default: one), of the seeds from `seed` (default: 0) on. A seed always
                gives the same image, that of `largegan sample --seeds`.
            seed: the first seed.
            seeds: which ones, instead.
            z: latents `[N, z_dim]`, instead.
            w: styles `[N, num_ws, w_dim]`, instead, of recipes that have some; see `w`.
            label: a class, by number or name, or one for each image, in turn; None for all
                classes in turn.
            truncation: typical, less varied images, the more so the smaller; what is truncated is
                the recipe's choice.
            toward: "class" truncates w toward the mean of its class, not of all.
            batch: how many at once.
            to: "numpy": uint8 `[N, H, W, C]`; "pil": a list of images; "torch": float32
                `[N, C, H, W]` in [-1, 1], on the device. 1-D toys draw numbers `[N, 1]`.

        Raises:
            ConfigError: of what cannot be, in a sentence.
        """
        check_batch(batch)
        if w is not None:
            refuse_beside("w", n=n, seed=seed, seeds=seeds, z=z, label=label, truncation=truncation)
            return self._shaped(self._of_styles(self._styles_given(w), batch), to)
        sampler = self._sampler_at(truncation, toward, label)
        latents, labels = self._latents(sampler, Asked(n, seed, seeds, z), label)
        parts = zip(latents.split(batch), _split(labels, len(latents), batch), strict=True)
        return self._shaped([self._decode(sampler, *part) for part in parts], to)

    @torch.no_grad()
    def w(
        self,
        n: int | None = None,
        *,
        seed: int | None = None,
        seeds: Sequence[int] | None = None,
        z: Any = None,
        label: Label = None,
        truncation: float | None = None,
        toward: Toward = "mean",
    ) -> Tensor:
        """Styles `[N, num_ws, w_dim]` on the host, for `sample(w=...)`; arguments as there.

        Raises ConfigError for recipes without styles.
        """
        self._require_styles()
        sampler = self._sampler_at(truncation, toward, label)
        latents, labels = self._latents(sampler, Asked(n, seed, seeds, z), label)
        return sampler.ws(latents.to(self.device), _on(labels, self.device)).cpu()

    def z(self, seeds: Sequence[int]) -> Tensor:
        """The latents `[N, z_dim]` of seeds, on the host."""
        return torch.stack([self.sampler.latent(seed) for seed in checked_seeds(seeds)])

    def walk(
        self,
        seeds: Sequence[int],
        *,
        frames: int = 24,
        label: Label = None,
        truncation: float | None = None,
        toward: Toward = "mean",
        batch: int = 64,
        to: Form = "numpy",
    ) -> Any:
        """`len(seeds) * frames` images past every seed and back to the first; see `largegan walk`.

        The class is `label`, or that of the first seed.
        """
        check_batch(batch, frames=frames)
        if len(checked_seeds(seeds)) < 2:
            raise ConfigError("a walk goes past two seeds or more")
        sampler = self._sampler_at(truncation, toward, label)
        with self._precision.on(self.device):
            found = path_images(sampler, list(seeds), frames, batch=batch)
        return shaped(list(from_uint8(found)), to)

    @torch.no_grad()
    def encode(self, images: Any) -> Tensor:
        """Codes `[N, z_dim]` on the host, for `sample(z=...)`, of recipes with an encoder.

        Pictures have the size of the network; see `api.pictures` for what they may be. Raises
        ConfigError without an encoder, DataError for other sizes.
        """
        return self._encoded(take(images, self.channels))

    @torch.no_grad()
    def reconstruct(self, images: Any) -> Any:
        """What is made of the codes of pictures, in the form they came in; see `encode`."""
        given = take(images, self.channels)
        codes = self._encoded(given)
        return given.answer(list(self._decode(self.sampler, codes, None)))

    def project(
        self,
        image: Any,
        *,
        label: int | str | None = None,
        steps: int = 500,
        lr: float = 0.1,
        extended: bool = False,
        features: str = "pixels",
        weights_dir: Path | None = None,
        seed: int = 0,
    ) -> Projection:
        """The w that draws a picture of the network's size; as `largegan project`.

        `features` is "pixels", or a timm model whose weights are a local file. Raises ConfigError
        for recipes without styles, or where classes are and none was named.
        """
        self._require_styles()
        check_batch(steps)
        given = take(image, self.channels)
        self._refuse_size(given)
        if not given.one:
            raise ConfigError("one picture is projected at a time")
        target = given.images[0][None].to(self.device)
        search = invert(
            self.sampler.recipe,
            distance_from(target, features, weights_dir),
            label=self._label_to_stay_in(label),
            steps=steps,
            lr=lr,
            extended=extended,
            device=self.device,
            seed=seed,
        )
        *_, last = search
        return Projection(last.ws.cpu(), given.answer([last.image[0]]), last.distance)

    def directions(self, count: int = 8, *, label: int | str | None = None) -> Directions:
        """The main directions of w; see `largegan directions`. Raises ConfigError without w."""
        self._require_styles()
        sampler = self._sampler_at(None, "mean", label)
        return find_directions(sampler, count)

    # -- what these share

    def _sampler_at(self, truncation: float | None, toward: Toward, label: Label) -> Sampler:
        sampler = self.sampler.truncated(check_number("truncation", truncation))
        if toward not in ("mean", "class"):
            raise ConfigError(f"toward is {toward!r}; give mean or class")
        check_toward(sampler.recipe, toward)
        if toward == "class" and truncation is None:
            raise ConfigError("truncation toward the class needs a truncation, such as 0.7")
        classes = sampler.classes if label is None else tuple(self._labels(label))
        return replace(sampler, toward=toward, classes=classes)

    def _labels(self, label: Label) -> Iterator[int]:
        if not self.class_names:
            raise ConfigError("this model was trained without classes; leave the label out")
        given = several(label)
        if not given:
            raise ConfigError("label is empty; give a class, by number or name")
        for one in given:
            word = one if isinstance(one, str) else whole(one)
            if word is None:
                raise ConfigError(f"{one!r} is no class; give classes by number or name")
            yield one_class(str(word), len(self.class_names), self.sampler.class_names)

    def _latents(
        self, sampler: Sampler, asked: Asked, label: Label
    ) -> tuple[Tensor, list[int] | None]:
        """Latents `[N, z_dim]` on the host, and the class of each."""
        if asked.z is not None:
            refuse_beside("z", n=asked.n, seed=asked.seed, seeds=asked.seeds)
            latents = self._latents_given(asked.z, sampler)
            turn: Sequence[int] = range(len(latents))
        else:
            turn = which_seeds(asked.n, asked.seed, asked.seeds)
            latents = torch.stack([sampler.latent(s) for s in turn])
        if not sampler.classes:
            return latents, None
        # With labels of their own images take them in turn, not by their seeds.
        turn = turn if label is None else range(len(latents))
        return latents, [sampler.classes[i % len(sampler.classes)] for i in turn]

    def _latents_given(self, z: Any, sampler: Sampler) -> Tensor:
        latents = numbers("z", z).cpu()
        if latents.ndim != 2 or latents.shape[1] != self.z_dim or not len(latents):
            raise ConfigError(f"z has the shape {list(latents.shape)}; it is [N, {self.z_dim}]")
        if sampler.truncation is not None and not isinstance(sampler.recipe, TruncatesStyles):
            raise ConfigError("this recipe truncates latents; truncate z itself")
        return latents

    def _styles_given(self, w: Any) -> Tensor:
        self._require_styles()
        ws, known = numbers("w", w), self.w(1).shape[1:]
        if ws.ndim != 3 or ws.shape[1:] != known or not len(ws):
            raise ConfigError(
                f"w has the shape {list(ws.shape)}; it is [N, {known[0]}, {known[1]}]"
            )
        return ws

    def _require_styles(self) -> HasStyles:
        recipe = self.sampler.recipe
        if not isinstance(recipe, HasStyles):
            raise ConfigError(
                f"recipe {self.recipe} has no {title_of(HasStyles)}; a StyleGAN has them"
            )
        return recipe

    def _of_styles(self, ws: Tensor, batch: int) -> list[Tensor]:
        with self._precision.on(self.device):
            recipe, parts = self._require_styles(), ws.to(self.device).split(batch)
            return [recipe.synthesize(part).float() for part in parts]

    def _decode(self, sampler: Sampler, latents: Tensor, labels: list[int] | None) -> Tensor:
        with self._precision.on(self.device):
            return sampler.decode(latents.to(self.device), _on(labels, self.device)).float()

    def _shaped(self, parts: list[Tensor], to: Form) -> Any:
        made = torch.cat(parts)
        if made.ndim == 4:
            return shaped(list(made), to)
        if to == "pil":
            raise ConfigError(f"recipe {self.recipe} draws numbers, not images; take to='numpy'")
        return made if to == "torch" else made.cpu().numpy()

    def _encoded(self, given: Given) -> Tensor:
        with self._precision.on(self.device):
            return self.sampler.encoded([to_uint8(image[None])[0] for image in given.images])

    def _refuse_size(self, given: Given) -> None:
        for image in given.images:
            if tuple(image.shape[1:]) != (self.height, self.width):
                raise ConfigError(
                    f"the picture is {image.shape[2]} pixels wide and {image.shape[1]} high; bring "
                    f"it to {self.width} by {self.height}"
                )

    def _label_to_stay_in(self, label: int | str | None) -> int | None:
        if label is None and len(self.class_names) > 1:
            raise ConfigError("this model has classes; say with label which one to stay in")
        if label is None:
            return 0 if self.class_names else None
        return next(self._labels(label))


def _split(labels: list[int] | None, count: int, batch: int) -> list[list[int] | None]:
    starts = range(0, count, batch)
    return [None if labels is None else labels[i : i + batch] for i in starts]


def _on(labels: list[int] | None, device: torch.device) -> Tensor | None:
    return None if labels is None else torch.tensor(labels, device=device)
