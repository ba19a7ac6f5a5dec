"""Checkpoints in the formats of other codes, made from the golden cases' tensors.

The published files carry their codes' source, so none of them is kept here: these have the same
structure, and modules of the same names that exist only while they are written.
"""

import pickle
import sys
import types
from pathlib import Path

import torch
from torch import Tensor

from tests.golden import stylegan2 as sg2
from tests.golden.goldcheck import Case


class Module:
    """A network's part as torch pickles it: parameters, buffers, parts and attributes."""

    def __init__(self, **attributes):
        self.training, self._parameters, self._buffers, self._modules = True, {}, {}, {}
        self.__dict__.update(attributes)


def tree(state: dict[str, Tensor], kind: type, attributes: dict[str, dict]) -> Module:
    """A module of modules with these tensors; `attributes` by dotted name, "" for the root."""
    root = kind(**attributes.get("", {}))
    for name, tensor in state.items():
        module, *path = root, *name.split(".")
        for i, step in enumerate(path[:-1], start=1):
            told = attributes.get(".".join(path[:i]), {})
            module = module._modules.setdefault(step, kind(**told))
        constant = not tensor.is_floating_point() or name.endswith(("w_avg", "noise_const"))
        tensor = tensor.clone()
        if constant:
            module._buffers[path[-1]] = tensor
        else:
            module._parameters[path[-1]] = torch.nn.Parameter(tensor)
    return root


def pickled(content: dict, *, persistent: bool, module: str = "training.networks") -> bytes:
    """A pickle whose networks are of `module.Generator`, or carry themselves as NVlabs' do."""
    made = {name: types.ModuleType(name) for name in ("torch_utils", "torch_utils.persistence")}
    parts = module.split(".")
    made |= {".".join(parts[:i]): types.ModuleType(parts[i - 1]) for i in range(1, len(parts) + 1)}

    def _reconstruct_persistent_obj(meta):
        raise AssertionError("an importer executed a pickle")

    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    made["torch_utils.persistence"]._reconstruct_persistent_obj = _reconstruct_persistent_obj
    source = "raise AssertionError('the source in a pickle was executed')"

    def reduce(self, protocol):
        meta = {"type": "class", "version": 6, "module_src": source, "class_name": "Generator"}
        return _reconstruct_persistent_obj, (meta | {"state": self.__dict__},)

    before = {name: sys.modules.get(name) for name in made}
    kept = Module.__module__, Module.__qualname__
    try:
        sys.modules.update(made)
        Module.__module__, Module.__qualname__ = module, "Generator"
        made[module].Generator = Module
        if persistent:
            Module.__reduce_ex__ = reduce
        return pickle.dumps(content)
    finally:
        Module.__module__, Module.__qualname__ = kept
        if persistent:
            del Module.__reduce_ex__
        for name, old in before.items():
            if old is None:
                del sys.modules[name]
            else:
                sys.modules[name] = old


def augment_pipe() -> Module:
    multipliers = dict.fromkeys(("xflip", "rotate90", "xint", "scale", "rotate", "aniso"), 1)
    multipliers |= dict.fromkeys(("xfrac", "brightness", "contrast", "lumaflip", "hue"), 1)
    pipe = Module(_init_args=(), _init_kwargs=multipliers | {"saturation": 1})
    pipe._buffers["p"] = torch.tensor(0.25)
    return pipe


def stylegan2(case: Case) -> dict:
    """A snapshot's content for a case of StyleGAN2."""
    built = sg2.constructors(case.meta["build"], case.meta["args"])
    attributes = {
        "G": {
            "mapping": {"num_layers": case.meta["args"]["map"], "w_avg_beta": 0.995},
            "synthesis.b4.conv1": {"conv_clamp": case.meta["args"]["clamp"]},
        },
        "D": {"b4.conv": {"conv_clamp": case.meta["args"]["clamp"]}},
    }
    return snapshot(case, built, attributes)


def stylegan3(case: Case) -> dict:
    """A snapshot's content for a case of StyleGAN3."""
    args = case.meta["args"]
    res, channels = args["res"], case.input("real_u8").shape[1]
    shared = {"c_dim": args["c_dim"], "img_resolution": res, "img_channels": channels}
    radial = {"conv_kernel": 1, "use_radial_filters": True} if args["cfg"] == "r" else {}
    built = {
        "G": shared
        | radial
        | {"z_dim": args["z_dim"], "w_dim": args["w_dim"], "channel_base": args["cbase"]}
        | {"channel_max": args["cmax"], "num_layers": args["layers"], "margin_size": 10}
        | {"mapping_kwargs": {"num_layers": args["map"]}},
        "D": shared
        | {"channel_base": args["dbase"], "channel_max": args["dmax"]}
        | {"epilogue_kwargs": {"mbstd_group_size": args["mbstd"]}},
    }
    mapping = {"num_layers": args["map"], "w_avg_beta": 0.998}
    return snapshot(case, built, {"G": {"mapping": mapping}, "D": {}})


def snapshot(case: Case, built: dict, attributes: dict) -> dict:
    content = {"training_set_kwargs": {"path": "x.zip"}, "augment_pipe": augment_pipe()}
    for net in "GD":
        told = {"": {"_init_args": (), "_init_kwargs": built[net]}} | attributes[net]
        content[net] = tree(case.state(net), Module, told)
    content["G_ema"] = content["G"]
    return content


def r3gan(case: Case) -> dict:
    """A snapshot's content for a case of R3GAN, whose networks are pickled by reference."""
    content = {"cur_nimg": 4096, "augment_pipe": None}
    for net in "GD":
        state = case.state(net)
        order = case.meta["names"][net]
        content[net] = tree({name: state[name] for name in order} | state, Module, {})
        content[f"{net}_opt_state"] = stepped([state[name] for name in order])
    return content | {"G_ema": content["G"]}


def stepped(tensors: list[Tensor]) -> dict:
    """Adam's state after a step in which parameter i had a gradient of i + 1 everywhere."""
    parameters = [torch.nn.Parameter(tensor.clone()) for tensor in tensors]
    adam = torch.optim.Adam(parameters, 1e-4)
    for i, p in enumerate(parameters):
        p.grad = torch.full_like(p, i + 1.0)
    adam.step()
    return adam.state_dict()


def biggan(case: Case, folder: Path, *, config: bool) -> Path:
    """BigGAN-PyTorch's folder; with optimizers that have made a step."""
    folder.mkdir()
    for net in "GD":
        state = case.state(net)
        state = {name: state[name] for name in case.meta["names"][net]} | state  # torch's order
        torch.save(state, folder / f"{net}.pth")
        optimizer = stepped([state[name] for name in case.meta["names"][net]])
        torch.save(optimizer, folder / f"{net}_optim.pth")
    torch.save(case.state("G"), folder / "G_ema.pth")
    if config:
        build = case.meta["build"]["G_and_D"]
        told = build | {"batch_size": 4, "ema_decay": 0.9999, "G_activation": torch.nn.ReLU()}
        torch.save({"itr": 25, "config": told}, folder / "state_dict.pth")
    return folder


def translators(case: Case, folder: Path) -> Path:
    """CycleGAN's, pix2pix's or CUT's folder."""
    folder.mkdir()
    for net in ("G_A", "G_B", "D_A", "D_B", "G", "D", "F"):
        state = case.state(net)
        if state:
            torch.save(state, folder / f"latest_net_{net}.pth")
    return folder


def studiogan(case: Case, folder: Path) -> Path:
    folder.mkdir()
    for net in "GD":
        content = {"state_dict": case.state(net), "step": 10, "seed": 3, "best_fid": None}
        torch.save(content, folder / f"model={net}-current-weights-step=10.pth")
    return folder
