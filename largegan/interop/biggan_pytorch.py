"""Checkpoints of BigGAN-PyTorch (ajbrock): folders of `G.pth`, `G_ema.pth`, `D.pth`, optimizers.

What the networks look like is read from their tensors; `state_dict.pth`, where it is, adds how they
were trained. The names below are facts about that code's state dictionaries.
"""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from largegan.errors import ConfigError, DataError
from largegan.interop.peers import Found, PeerNet, State, numbered, renamed, shape, tensors
from largegan.interop.torch_files import read_file
from largegan.layers.spectral_norm import iterate
from largegan.nets.biggan import D_WIDTHS, G_WIDTHS
from largegan.recipe import DataSpec

PATTERN = re.compile(r"(G_ema|G_optim|D_optim|state_dict|G|D)(?:_(\w+))?\.pth")
NETS = {"G": "G", "D": "D", "G_ema": "G_ema.net"}

RULES = [  # ours -> the peer's
    (r"^head\.score\.", "linear."),
    (r"^head\.embed\.", "embed."),
    (r"^project\.", "linear."),
    (r"^to_rgb\.", "output_layer.2."),
    (r"^norm\.weight$", "output_layer.0.gain"),
    (r"^norm\.", "output_layer.0."),
    (r"^attention\.(\d+)\.", r"blocks.\1.1."),
    (r"^blocks\.(\d+)\.(\D)", r"blocks.\1.0.\2"),
    (r"\.shortcut\.", ".conv_sc."),
    (r"\.norm(\d)\.norm\.", r".bn\1."),
    (r"\.norm(\d)\.", r".bn\1."),
    (r"\.running_", ".stored_"),
]
TOLD_BY = "output_layer.2.weight"  # of the networks that have such a tensor, only a generator's
SPECTRAL = r"\.(u|v|sigma)$"
IGNORED = r"(\.(u|sv)\d+|accumulation_counter|num_batches_tracked)$"  # read as rows, or a count

# Settings of training -> our recipe's options.
CONFIG = {
    "SN_eps": "sn_eps",
    "BN_eps": "bn_eps",
    "adam_eps": "adam_eps",
    "num_G_SV_itrs": "sn_iterations",
    "G_ortho": "ortho",
    "num_D_steps": "d_steps",
    "G_lr": "g_lr",
    "D_lr": "d_lr",
    "G_B1": "beta1",
}
STARTS = {"ortho": "orthogonal", "N02": "normal", "xavier": "xavier", "glorot": "xavier"}


def theirs(name: str) -> str:
    """Our parameter or buffer name -> the peer's."""
    return renamed(name, RULES)


def names(module: nn.Module, *, state: State) -> Mapping[str, str]:
    """Ours -> the peer's, for what both store alike."""
    found = {}
    for name in module.state_dict():
        if not re.search(SPECTRAL, name) and not name.endswith("num_batches_tracked"):
            found[name] = in_state(theirs(name), state)
    return found


def in_state(name: str, state: State) -> str:
    """Statistics lie one level deeper in two of the peer's three norms."""
    for other in (".bn.stored_", ".bn.running_"):
        deeper = name.replace(".stored_", other)
        if name not in state and deeper in state:
            return deeper
    return name


def derive(name: str, mine: Tensor, state: State) -> Tensor:
    """Singular vectors and values: a tensor for each in the peer, a row here; v follows from u."""
    layer, _, kind = name.rpartition(".")
    base = theirs(f"{layer}.weight").removesuffix("weight")
    peer = {"u": "u", "v": "u", "sigma": "sv"}[kind]
    rows = [state.get(f"{base}{peer}{i}") for i in range(len(mine))]
    if None in rows:
        raise DataError(f"{base}{peer}0 is missing; spectral norm was off in that layer")
    vectors = [row.load().float().flatten() for row in rows]
    matrix = state[f"{base}weight"].load().float().flatten(1)
    if any(len(vector) != (1 if kind == "sigma" else len(matrix)) for vector in vectors):
        raise DataError(f"{base}{peer}0 has another number of rows than the weight of that layer")
    found = torch.stack(vectors)
    return iterate(matrix, found, 1e-12)[1] if kind == "v" else found


def peer_net(state: State) -> PeerNet:
    return PeerNet(
        state, partial(names, state=state), derived=SPECTRAL, derive=derive, ignored=IGNORED
    )


def files_of(source: Path, which: str | None) -> dict[str, Path]:
    """The files of a copy: the unnamed one, or the one asked for."""
    copies: dict[str, dict[str, Path]] = {}
    for path in sorted(source.iterdir()) if source.is_dir() else ():
        if match := PATTERN.fullmatch(path.name):
            copies.setdefault(match[2] or "", {})[match[1]] = path
    copies = {name: files for name, files in copies.items() if {"G", "D", "G_ema"} & set(files)}
    if not copies:
        return {}
    if which is not None and which not in copies:
        known = ", ".join(name for name in copies if name) or "none"
        raise ConfigError(f"{source} has no copy {which}; it has {known}")
    return copies[which or ("" if "" in copies else min(copies))]


def read(source: Path, content: Any = None, *, epoch: str | None = None) -> Found | None:
    """None when it is no such folder, nor a generator's file alone.

    Args:
        source: a folder, or a generator's `G_ema.pth`.
        content: what the file holds; None for a folder.
        epoch: which of several copies.

    Raises:
        DataError: damaged, or of networks that are not these.
        ConfigError: a copy that is not there.
    """
    files, states = files_of(source, epoch), {}
    if isinstance(content, dict) and any(name.endswith(TOLD_BY) for name in map(str, content)):
        states = {"G_ema": tensors(content, str(source))}
    states |= {k: tensors(read_file(files[k]), str(files[k])) for k in NETS if k in files}
    generator = states.get("G_ema") or states.get("G")
    if files and generator is None:
        raise DataError(f"{source} holds no generator, only {', '.join(sorted(files))}")
    if not generator or not {"linear.weight", TOLD_BY} <= set(generator):
        return None
    told = read_file(files["state_dict"]) if "state_dict" in files else {}
    config, notes = training_options(told.get("config") if isinstance(told, dict) else None)
    options, spec, first = generator_options(generator, str(source))
    if "D" in states:
        options |= discriminator_options(states["D"], spec, str(source))
    else:
        options["d_channels"] = options["g_channels"]  # as published
    step = told.get("itr", 0) if isinstance(told, dict) else 0
    batch = config.pop("batch", None)
    optimizers = {
        which: (which, read_file(files[f"{which}_optim"]))
        for which in ("G", "D")
        if f"{which}_optim" in files and which in states
    }
    return Found(
        title=f"{source.name}: BigGAN of BigGAN-PyTorch",
        recipe="biggan",
        options=options | config,
        spec=spec,
        nets={NETS[k]: peer_net(state) for k, state in states.items()},
        nimg=step * (batch or 0),
        step=step,
        batch_size=batch,
        optimizers=optimizers,
        notes=(*notes, *first),
    )


def generator_options(state: State, what: str) -> tuple[dict[str, Any], DataSpec, list[str]]:
    """Options and image shape from a generator's tensors, and notes. Raises `DataError`."""
    if "blocks.0.0.conv4.weight" in state:
        raise DataError(
            f"{what}: the BigGAN-deep of BigGAN-PyTorch, which is not read; Hugging Face's port "
            "and StudioGAN's are"
        )
    blocks = numbered(state, r"^blocks\.(\d+)\.0\.conv1\.weight$")
    resolution = 4 << len(blocks)
    if resolution not in G_WIDTHS or "linear.u0" not in state:
        raise DataError(f"{what}: a generator of {len(blocks)} blocks, or without spectral norm")
    slots = len(blocks) + 1
    first, inputs = shape(state, "linear.weight", what)
    gain = shape(state, "blocks.0.0.bn1.gain.weight", what)
    shared = shape(state, "shared.weight", what) if "shared.weight" in state else None
    hierarchical = shared is not None and gain[1] > shared[1]
    classes = shared[0] if shared else gain[0]
    notes = []
    if any(".bn.stored_" in name for name in state):
        notes.append("its batch norm kept biased variances while training; ours corrects them")
    options = {
        "z_dim": inputs * slots if hierarchical else inputs,
        "shared_dim": shared[1] if shared else 0,
        "hierarchical": hierarchical,
        "g_channels": first // (16 * G_WIDTHS[resolution][0]),
        "g_attention_blocks": numbered(state, r"^blocks\.(\d+)\.1\.theta\.weight$"),
    }
    channels = shape(state, "output_layer.2.weight", what)[0]
    return options, DataSpec(channels, resolution, resolution, classes), notes


def discriminator_options(state: State, spec: DataSpec, what: str) -> dict[str, Any]:
    widths = D_WIDTHS[spec.height]
    hidden, _ = shape(state, "blocks.0.0.conv1.weight", what)[:2]
    outputs = shape(state, "blocks.0.0.conv2.weight", what)[0]
    return {
        "d_channels": outputs // widths[0],
        "d_wide": hidden == outputs,
        "d_attention_blocks": numbered(state, r"^blocks\.(\d+)\.1\.theta\.weight$"),
    }


def training_options(config: Any) -> tuple[dict[str, Any], list[str]]:
    """Our options from `state_dict.pth`'s config (and "batch"), and what could not be taken."""
    if not isinstance(config, dict):
        return {}, ["state_dict.pth is not there: how it was trained is as the recipe has it"]
    found = {ours: config[peer] for peer, ours in CONFIG.items() if peer in config}
    if config.get("G_init") in STARTS:
        found["start"] = STARTS[config["G_init"]]
    batch = config.get("batch_size", 0) * config.get("num_D_accumulations", 1)
    if batch:
        found["batch"] = batch
    notes = []
    for key, usual in (("z_var", 1.0), ("D_ortho", 0.0), ("norm_style", "bn")):
        if config.get(key, usual) != usual:
            notes.append(f"its {key} is {config[key]}, which the recipe does not have")
    decay = config.get("ema_decay")
    if batch and isinstance(decay, float) and 0 < decay < 1:
        halflife = -batch / torch.tensor(decay, dtype=torch.float64).log2()
        found["ema_halflife_nimg"] = round(float(halflife))
    return found, notes
