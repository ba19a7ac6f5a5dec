"""Writing a folder that `exported.py` and other programs can load: whole and compared, or not."""

import json
import os
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

import largegan
from largegan import checkpoint
from largegan.errors import EnvironmentFault
from largegan.interop import graphs
from largegan.interop.exported import (
    CONFIG,
    FORMAT,
    WEIGHTS,
    channels_of,
    choose_direction,
    load_exported,
    network_of,
    sha256_of,
)
from largegan.interop.graphs import Traceable, compare
from largegan.recipe import DataSpec, Recipe
from largegan.restore import restore

README = "README.md"


def export(
    path: Path, out: Path, *, forms: tuple[str, ...], direction: str | None = None
) -> dict[str, float]:
    """Writes the network of a checkpoint in every form; returns how far each is from the original.

    Args:
        path: RUN or RUN/checkpoints/NNNNNNNNN.
        out: the folder; what an earlier export left in it is replaced.
        forms: of "safetensors" (always written), "pt2", "onnx".
        direction: of a translation; None for the first.

    Raises:
        ConfigError: nothing there, or a form that this network cannot have.
        DataError: the checkpoint is damaged.
        EnvironmentFault: the disk refuses, or a package is missing.
    """
    found = restore(path)
    recipe = found.recipe
    which = choose_direction(direction, recipe.directions, found.path)
    net = network_of(recipe, which).eval().requires_grad_(False)
    partial = out.with_name(f".{out.name}.partial-{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        deviations = _write_all(partial, net, recipe, found.spec, found.options, which, forms)
        out.mkdir(parents=True, exist_ok=True)
        for name in (graphs.PT2, graphs.ONNX, f"{graphs.ONNX}.data"):
            (out / name).unlink(missing_ok=True)  # of an earlier export with more forms
        for file in partial.iterdir():
            file.replace(out / file.name)
    except (OSError, SafetensorError) as fault:
        raise EnvironmentFault(f"cannot write {out}: {fault}; make room and try again") from fault
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return deviations


def _write_all(
    folder: Path,
    net: nn.Module,
    recipe: Recipe,
    spec: DataSpec,
    options: dict,
    direction: str | None,
    forms: tuple[str, ...],
) -> dict[str, float]:
    """Every file of an export, each compared with the original."""
    kind = "translator" if direction else "generator"
    traceable = _traceable(net, recipe, kind)
    _write_weights(folder / WEIGHTS, net)
    config = {
        "format": FORMAT,
        "kind": kind,
        "recipe": options["name"],
        "options": {k: v for k, v in options.items() if k != "name"},
        "direction": direction,
        "spec": vars(spec),
        "sha256": sha256_of(folder / WEIGHTS),
        "inputs": list(traceable.names),
        "largegan": largegan.__version__,
        "torch": torch.__version__,
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=1))
    found = {WEIGHTS: _compare_loaded(folder, traceable)}
    if "pt2" in forms:
        found[graphs.PT2] = graphs.write_pt2(traceable, folder / graphs.PT2)
    if "onnx" in forms:
        found[graphs.ONNX] = graphs.write_onnx(traceable, folder / graphs.ONNX)
    (folder / README).write_text(_readme(config, found))
    return found


def _traceable(net: nn.Module, recipe: Recipe, kind: str) -> Traceable:
    if kind == "translator":
        return graphs.traceable_translator(net, channels_of(net))
    return graphs.traceable_generator(net, recipe)


def _write_weights(path: Path, net: nn.Module) -> None:
    state = checkpoint.unaliased(net.state_dict())
    save_file({name: t.detach().cpu().contiguous() for name, t in state.items()}, path)


def _compare_loaded(folder: Path, traceable: Traceable) -> float:
    """What somebody will load, against what was trained: without the padding that graphs need."""
    loaded = load_exported(folder).net

    def run(*inputs: Tensor) -> Tensor:
        with torch.no_grad():
            return loaded(*inputs)

    return compare(traceable, run, "safetensors")


def _readme(config: dict, found: dict[str, float]) -> str:
    what = config["recipe"] + (f" {config['direction']}" if config["direction"] else "")
    takes = ", ".join(config["inputs"])
    if config["kind"] == "translator":
        shape = "images `[N, C, H, W]`, float32 in [-1, 1], any size from 8 pixels on"
    else:
        shape = "latents `[N, z_dim]`" + (", labels int64 `[N]`" if "label" in takes else "")
    lines = [
        f"# {what}",
        "",
        f"Exported by largegan {config['largegan']}. Input ({takes}): {shape}. Output: images in "
        "[-1, 1].",
        "",
        "```python",
        "from largegan.interop.exported import load_exported",
        'net = load_exported("PATH OF THIS FOLDER").net',
    ]
    if graphs.PT2 in found:
        lines.append('net = torch.export.load("model.pt2").module(check_guards=False)')
    if graphs.ONNX in found:
        lines.append('session = onnxruntime.InferenceSession("model.onnx")')
    return "\n".join([*lines, "```", ""])
