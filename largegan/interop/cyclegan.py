"""Checkpoints of CycleGAN, pix2pix and CUT: folders of `EPOCH_net_NAME.pth` state dictionaries.

The three share one code base. Its state dictionaries do not say how they were built, but nearly all
of it can be seen from their names and shapes; the rest is taken from `train_opt.txt` or
`test_opt.txt` where the folder has one, and is otherwise as our recipes have it, which is said.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from largegan.errors import ConfigError, DataError
from largegan.interop.cyclegan_names import convolutions, peer_net
from largegan.interop.cyclegan_options import options_said
from largegan.interop.peers import Found, State, numbered, tensors
from largegan.interop.torch_files import read_file
from largegan.recipe import DataSpec

PATTERN = re.compile(r"(latest|\d+|iter_\d+)_net_(G_A|G_B|D_A|D_B|G|D|F)\.pth")
PUBLISHED_SIZE = 256

# The peer's discriminators are numbered by the generator they judge, ours named by their domain.
NETS = {
    "cyclegan": {"G_A": "G_ab", "G_B": "G_ba", "D_A": "D_b", "D_B": "D_a"},
    "pix2pix": {"G": "G", "D": "D"},
    "cut": {"G": "G", "D": "D", "F": "F"},
}


# What a network looks like, seen from its tensors.


def generator_options(state: State) -> dict[str, Any]:
    """Architecture, depth, width, norm and blur of a generator. Raises `DataError`."""
    options: dict[str, Any] = {"norm": norm_of(state)}
    if "model.model.0.weight" in state:
        path = max((name for name in state if name.endswith(".weight")), key=lambda n: n.count("."))
        levels = len(re.findall(r"\d+", path))
        width = state["model.model.0.weight"].shape[0]
        return options | {"architecture": "unet", "depth": levels, "g_channels": width}
    blocks = numbered(state, r"^model\.(\d+)\.conv_block\.")
    if not blocks or "model.1.weight" not in state:
        raise DataError("its generator is neither a ResNet nor a U-Net of CycleGAN's code")
    places = numbered(state, rf"^model\.{blocks[0]}\.conv_block\.(\d+)\.weight$")
    convs = [n for n in places if len(state[f"model.{blocks[0]}.conv_block.{n}.weight"].shape) == 4]
    blurs = [n for n in numbered(state, r"^model\.(\d+)\.filt$")]
    return options | {
        "architecture": "resnet",
        "depth": len(blocks),
        "g_channels": state["model.1.weight"].shape[0],
        "dropout": convs[1] - convs[0] == 5,
        "antialias": any(n < blocks[0] for n in blurs),
        "antialias_up": any(n > blocks[0] for n in blurs),
    }


def channels_of(state: State) -> tuple[int, int]:
    """What a generator takes, and what it gives."""
    if "model.model.0.weight" in state:
        return state["model.model.0.weight"].shape[1], state["model.model.3.weight"].shape[1]
    last = max(numbered(state, r"^model\.(\d+)\.weight$"))
    return state["model.1.weight"].shape[1], state[f"model.{last}.weight"].shape[0]


def discriminator_options(state: State) -> dict[str, Any]:
    """Halvings, width, norm and blur of a discriminator. Raises `DataError`."""
    if "net.0.weight" in state:
        return {"d_layers": 0, "d_channels": state["net.0.weight"].shape[0]}
    convs = convolutions(state)
    if len(convs) < 3 or convs[0] != 0:
        raise DataError("its discriminator is no PatchGAN of CycleGAN's code")
    blur = any(name.endswith(".filt") for name in state)
    width = state["model.0.weight"].shape[0]
    return {"d_layers": len(convs) - 2, "d_channels": width, "antialias": blur}


def norm_of(state: State) -> str:
    """Batch norm has running means; instance norm leaves the convolutions their biases."""
    if any(name.endswith("running_mean") for name in state):
        return "batch"
    inner = "model.1.bias" if "model.1.weight" in state else "model.model.1.model.1.bias"
    return "instance" if inner in state else "none"


# Reading a folder.


def files_of(source: Path, epoch: str | None) -> dict[str, Path]:
    """The networks of an epoch by the peer's names: the newest one, or the one asked for."""
    if not source.is_dir():
        return {}
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(source.iterdir()):
        if match := PATTERN.fullmatch(path.name):
            found.setdefault(match[1], {})[match[2]] = path
    if not found:
        return {}
    newest = "latest" if "latest" in found else max(found, key=age)
    if epoch is not None and epoch not in found:
        raise ConfigError(f"{source} has no epoch {epoch}; it has {', '.join(sorted(found))}")
    return found[epoch or newest]


def age(epoch: str) -> tuple[bool, int]:
    """Orders "200" and "iter_5000": epochs are kept when they end, iterations in between."""
    return not epoch.startswith("iter_"), int(epoch.removeprefix("iter_"))


def networks_of(source: Path, content: Any, epoch: str | None) -> dict[str, State]:
    """Tensors by the peer's names of networks; a generator's file alone is a "G"."""
    if content is not None:
        alone = isinstance(content, dict) and {"model.1.weight", "model.model.0.weight"} & set(
            content
        )
        return {"G": plain(tensors(content, str(source)))} if alone else {}
    files = files_of(source, epoch)
    if files and not {"G_A", "G_B", "G"} & set(files):
        raise DataError(f"{source} holds no generator, only {', '.join(sorted(files))}")
    contents = {name: read_file(path) for name, path in files.items()}
    return {
        # CUT may compare features as they are: its F has no tensors then.
        name: {} if name == "F" and content == {} else plain(tensors(content, str(files[name])))
        for name, content in contents.items()
    }


def plain(state: State) -> State:
    """Without the statistics that instance norm kept before torch 0.4, and did not use."""
    kept = {name for name in state if not re.search(r"\.(running_|num_batches)", name)}
    return {
        name: tensor
        for name, tensor in state.items()
        if name in kept or f"{name.rpartition('.')[0]}.weight" in kept
    }


def read(
    source: Path,
    content: Any = None,
    *,
    epoch: str | None = None,
    resolution: int | None = None,
    statistics: str = "running",
) -> Found | None:
    """None when it is no such folder.

    Args:
        source: a folder of state dictionaries, or one generator's file.
        content: what the file holds; None for a folder.
        epoch: "latest", or a number; None: the newest.
        resolution: side of the images it was trained on, where only the person knows.
        statistics: how batch norm translates: by "running" averages, or by each image's "own".

    Raises:
        DataError: damaged, or of networks that are not these.
        ConfigError: an epoch that is not there.
    """
    states = networks_of(source, content, epoch)
    if not states:
        return None
    said, remarks = options_said(source)
    states, halved = one_way(states)
    remarks += halved
    recipe = recipe_of(states)
    options, notes = network_options(states, recipe)
    options |= {"statistics": statistics} if options["norm"] == "batch" else {}
    options |= {k: v for k, v in said.items() if k in FITTING[recipe] and v is not None}
    if options.get("architecture") == "unet":
        notes += dropout_of(said, options)
    notes += leave_other_projections(states, options)
    size, sized = side(options, said, resolution)
    channels, channels_b = channels_of(states["G_A" if recipe == "cyclegan" else "G"])
    if channels != channels_b and recipe == "cyclegan":
        options["identity"] = 0.0
    if options.get("direction") == "b_to_a":  # the network's input is the second domain
        channels, channels_b = channels_b, channels
    nets = {NETS[recipe][name]: peer_net(state) for name, state in states.items() if state}
    return Found(
        title=f"{source.name}: {TITLES[recipe]}",
        recipe=recipe,
        options=options,
        spec=DataSpec(channels, size, size, 0, channels_b),
        nets=nets,
        notes=(*sized, *notes, *remarks, "its optimizers are not in the folder: they begin anew"),
    )


TITLES = {"cyclegan": "CycleGAN", "pix2pix": "pix2pix", "cut": "CUT"}
FITTING = {
    "cyclegan": {"gan_loss", "cycle_a", "cycle_b", "identity", "pool_size", "lr"},
    "pix2pix": {"gan_loss", "l1", "lr", "direction"},
    "cut": {"gan_loss", "gan", "nce", "temperature", "patches", "lr", "nce_layers"}
    | {"direction", "nce_identity", "flip_equivariance"},
}
CUT_LAYERS = 5  # that are compared where nobody says which


def one_way(states: dict[str, State]) -> tuple[dict[str, State], list[str]]:
    """A CycleGAN of which only one generator is there, as a translator of one direction."""
    sides = [side for side in "AB" if f"G_{side}" in states]
    if len(sides) != 1:
        return states, []
    (side,) = sides
    found = {kind: states[f"{kind}_{side}"] for kind in "GD" if f"{kind}_{side}" in states}
    return found, [f"of CycleGAN's two generators only G_{side} is there: it has one direction"]


def recipe_of(states: dict[str, State]) -> str:
    """From which networks there are, and from what the discriminator sees."""
    if "G_A" in states:
        return "cyclegan"
    if "F" in states:
        return "cut"
    takes, gives = channels_of(states["G"])
    if "D" in states:
        first = states["D"].get("model.0.weight") or states["D"].get("net.0.weight")
        sees = first.shape[1] if first is not None else 0
        return "pix2pix" if sees == takes + gives else "cut"
    return "pix2pix" if "model.model.0.weight" in states["G"] or takes != gives else "cut"


def network_options(states: dict[str, State], recipe: str) -> tuple[dict[str, Any], list[str]]:
    """The recipe's options that the tensors show, and notes. Raises `DataError`."""
    generators = [generator_options(states[k]) for k in ("G_A", "G_B", "G") if k in states]
    discriminators = [discriminator_options(states[k]) for k in ("D_A", "D_B", "D") if k in states]
    for group in (generators, discriminators):
        if any(other != group[0] for other in group):
            raise DataError("its two sides are built differently, which our recipe does not do")
    options, notes = generators[0], []
    judge = discriminators[0] if discriminators else {}
    blur = judge.get("antialias", options.get("antialias", False))
    if options.get("antialias", blur) != blur:
        raise DataError("its generator blurs before it halves, its discriminator does not")
    options |= judge
    if recipe == "cut":
        if options.pop("architecture") != "resnet":
            raise DataError("its generator is a U-Net; our CUT compares features of a ResNet")
        options["blocks"] = options.pop("depth")
        options |= projection_options(states.get("F"))
    return options, notes


def projection_options(state: State | None) -> dict[str, Any]:
    """The width of CUT's projection, 0 where there is none."""
    if not state:
        return {} if state is None else {"projection": 0}
    widths = {state[n].shape[0] for n in state if re.match(r"mlp_\d+\.0\.bias$", n)}
    return {"projection": widths.pop()} if len(widths) == 1 else {}


def dropout_of(said: Mapping[str, Any], options: dict[str, Any]) -> list[str]:
    """Sets a U-Net's dropout where somebody said it; else a note."""
    if "dropout" not in said:
        return ["dropout leaves no trace in a U-Net's tensors: it is as the recipe has it"]
    options["dropout"] = said["dropout"]
    return []


def leave_other_projections(states: dict[str, State], options: Mapping[str, Any]) -> list[str]:
    """Takes away a projection of features that ours is not, or that nobody names; notes it."""
    count = len(numbered(states.get("F", {}), r"^mlp_(\d+)\."))
    if not states.get("F") or count == len(options.get("nce_layers") or range(CUT_LAYERS)):
        return []
    del states["F"]
    if not count:
        return ["its F is no projection of sampled features: it is left behind, and F begins anew"]
    return [
        f"its projection F is of {count} layers, which leave no trace: it begins anew, unless "
        "train_opt.txt, which names them, lies beside it"
    ]


def side(
    options: Mapping[str, Any], said: Mapping[str, Any], resolution: int | None
) -> tuple[int, list[str]]:
    """The side of training images, and a note when nobody said it."""
    known = resolution or said.get("crop_size")
    if known:
        return int(known), []
    size = PUBLISHED_SIZE
    if options.get("architecture") == "unet":
        size = 1 << options["depth"]
    return size, [f"images of {size} pixels are assumed; say --resolution where it was another"]
