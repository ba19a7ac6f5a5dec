"""Writing a folder that `exported.py` and other programs can load: whole and compared, or not."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from largegan import checkpoint
from largegan.errors import ConfigError, shown
from largegan.files.claims import Outputs, claim_new_folder
from largegan.files.digests import sha256_of
from largegan.files.output import new_folder
from largegan.files.version import VERSION
from largegan.interop import graphs
from largegan.interop.graphs import Traceable, compare
from largegan.restore import Restored, restore
from largegan.restore.exported import (
    CONFIG,
    FORMAT,
    WEIGHTS,
    channels_of,
    choose_direction,
    is_exported,
    load_exported,
    network_of,
)

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
    which = choose_direction(direction, found.recipe.directions, found.path)
    with new_folder(out, over=is_exported(out)) as partial:
        return write_all(partial, found, which, forms)


FILES = (CONFIG, WEIGHTS, README, graphs.PT2, graphs.ONNX, f"{graphs.ONNX}.data")


def claim(path: Path, out: Path, *, overwrite: bool) -> None:
    """Refuses a folder that is no earlier export, or is read from. Raises UserError."""
    claim_folder(path, out, "export", overwrite and is_exported(out), lambda name: name in FILES)


def claim_folder(
    path: Path, out: Path, what: str, replace: bool, ours: Callable[[str], bool]
) -> None:
    """Refuses an OUT that holds something, unless it is one of ours that may be replaced.

    Args:
        path: what is read.
        out: the folder.
        what: what is written, for sentences.
        replace: whether it may be, and is what was written before.
        ours: whether a file of this name is one that is written.
    """
    Outputs(checkpoint.parts_of_run(path)).folder(out, apart=True)
    if not out.exists() or out.is_symlink() or (out.is_dir() and not any(out.iterdir())):
        claim_new_folder(out)
        return
    strange = [p.name for p in out.iterdir() if not ours(p.name)]
    if strange:
        raise ConfigError(
            f"{out} holds {shown(strange[0])}, so it is not replaced; choose another OUT"
        )
    if not replace:
        raise ConfigError(
            f"{out} exists; choose another OUT, or --overwrite to replace an earlier {what}"
        )


def write_all(
    folder: Path, found: Restored, direction: str | None, forms: tuple[str, ...]
) -> dict[str, float]:
    """Every file of an export, each compared with the original."""
    net = network_of(found.recipe, direction).eval().requires_grad_(False)
    traceable = traceable_of(net, found, direction)
    write_weights(folder / WEIGHTS, net)
    config = {
        "format": FORMAT,
        "kind": "translator" if direction else "generator",
        "recipe": found.name,
        "options": {k: v for k, v in found.options.items() if k != "name"},
        "direction": direction,
        "spec": vars(found.spec),
        "class_names": list(found.class_names),
        "sha256": sha256_of(folder / WEIGHTS),
        "inputs": list(traceable.names),
        "optional_inputs": [graphs.TRUNCATION] if traceable.truncates else [],
        "largegan": VERSION,
        "torch": torch.__version__,
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=1))
    differences = {WEIGHTS: _compare_loaded(folder, traceable)}
    differences |= write_graphs(folder, traceable, forms)
    (folder / README).write_text(_readme(config, differences))
    return differences


def write_graphs(folder: Path, traceable: Traceable, forms: tuple[str, ...]) -> dict[str, float]:
    """The graphs among `forms`, by file how far each is from the original."""
    found = {}
    if "pt2" in forms:
        found[graphs.PT2] = graphs.write_pt2(traceable, folder / graphs.PT2)
    if "onnx" in forms:
        found[graphs.ONNX] = graphs.write_onnx(traceable, folder / graphs.ONNX)
    return found


def traceable_of(net: nn.Module, found: Restored, direction: str | None) -> Traceable:
    """What of a restored recipe is written as a graph, with inputs to try it on."""
    if direction:
        return graphs.traceable_translator(net, channels_of(net))
    return graphs.traceable_generator(net, found.recipe)


def write_weights(path: Path, net: nn.Module) -> None:
    """The state of a network, on the host, each tensor once."""
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
        "import largegan",
        'model = largegan.load("PATH OF THIS FOLDER")',
    ]
    if graphs.PT2 in found:
        lines.append('net = torch.export.load("model.pt2").module(check_guards=False)')
    if graphs.ONNX in found:
        lines.append('session = onnxruntime.InferenceSession("model.onnx")')
        if config["optional_inputs"]:
            lines.append('session.run(None, {..., "truncation": 0.7})  # float32; 1 if left out')
    return "\n".join([*lines, "```", ""])
