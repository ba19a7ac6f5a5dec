"""Golden vectors: what a published implementation computed on random weights, and how to compare.

A folder holds `manifest.json` and one safetensors file a case: `state.<net>.<peer name>` before
anything ran, `in.<name>`, `out.<name>` in float32. The manifest gives every output a tolerance,
8 times the peer's own numerical noise; `slack` multiplies it.
"""

import json
import os
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

HERE = Path(__file__).parent


def folder() -> Path:
    """`LARGEGAN_GOLDEN`, else the shared collection beside the repository, else the subset here."""
    if "LARGEGAN_GOLDEN" in os.environ:
        return Path(os.environ["LARGEGAN_GOLDEN"])
    shared = HERE.parents[2] / "shared" / "golden"
    return shared if (shared / "manifest.json").exists() else HERE / "data"


def manifest(path: Path) -> dict[str, dict]:
    return json.loads((path / "manifest.json").read_text())["cases"]


def checksum(tensor: Tensor) -> Tensor:
    """[l2 norm, sum, sum(t_i cos(0.1 i + 0.3))] of the flattened tensor, in float64."""
    x = tensor.detach().double().flatten()
    waves = torch.cos(0.1 * torch.arange(len(x), dtype=torch.float64) + 0.3)
    return torch.stack([x.norm(), x.sum(), (x * waves).sum()])


class Case:
    """One case: its inputs, its expected outputs, and a record of every comparison."""

    def __init__(self, path: Path, name: str, *, slack: float = 1.0):
        self.meta = manifest(path)[name]
        self.file = safe_open(path / self.meta["file"], "pt")
        self.keys = list(self.file.keys())
        self.slack = slack
        self.checked: set[str] = set()
        self.failures: list[str] = []

    def state(self, net: str) -> dict[str, Tensor]:
        prefix = f"state.{net}."
        return {
            key.removeprefix(prefix): self.file.get_tensor(key)
            for key in self.keys
            if key.startswith(prefix)
        }

    def input(self, name: str) -> Tensor:
        return self.file.get_tensor(f"in.{name}")

    def image(self, name: str) -> Tensor:
        """A uint8 input as float32 in [-1, 1]."""
        return self.input(name).float() / 127.5 - 1

    def outputs(self) -> set[str]:
        return {key.removeprefix("out.") for key in self.keys if key.startswith("out.")}

    def expected(self, name: str) -> Tensor:
        return self.file.get_tensor(f"out.{name}")

    def check(self, name: str, got: Tensor) -> None:
        """Compares element by element with the manifest's absolute tolerance."""
        self.checked.add(name)
        want = self.expected(name).double()
        if got.numel() != want.numel():
            self.failures.append(f"{name}: shape {list(got.shape)}, expected {list(want.shape)}")
            return
        error = float((got.detach().double().reshape(want.shape) - want).abs().max())
        limit = self.meta["tol"][name]["atol"] * self.slack
        if not error <= limit:
            self.failures.append(f"{name}: error {error:.3g}, limit {limit:.3g}")

    def check_mean(self, name: str, got: float) -> None:
        """Compares with the mean of an output: of losses the trainer keeps no more."""
        self.checked.add(name)
        error = abs(got - float(self.expected(name).double().mean()))
        limit = self.meta["tol"][name]["atol"] * self.slack
        if not error <= limit:
            self.failures.append(f"{name}: error {error:.3g} of the mean, limit {limit:.3g}")

    def check_rows(self, name: str, tensors: dict[str, Tensor]) -> None:
        """Compares checksums; `tensors` has the peer's names, `name` ends in a list of names.

        Rows the manifest calls ill are numerical noise in the peer itself and are left out. First
        Adam steps are lr * sign(g): their rows allow two flipped signs of tiny gradients.
        """
        self.checked.add(name)
        want, tolerance = self.expected(name), self.meta["tol"][name]
        for i, row in enumerate(self.meta["names"][name.split(".")[-1]]):
            if i in tolerance.get("ill", []):
                continue
            tensor = tensors[row]
            limit = tolerance["atol_rows"][i] * self.slack
            if name.startswith("delta.") and tensor.numel() > 4:
                limit += 4 * float(want[i, 0]) / tensor.numel() ** 0.5
            error = float((checksum(tensor) - want[i]).abs().max())
            if not error <= limit:
                self.failures.append(f"{name}, {row}: error {error:.3g}, limit {limit:.3g}")
