"""Checkpoints in the formats of other codes, made from the golden cases' tensors.

The published files carry their codes' source, so none of them is kept here: these have the same
structure, and modules of the same names that exist only while they are written.
"""

import json
import pickle
import sys
import types
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from tests.golden import projected_gan as golden_projected
from tests.golden import stylegan2 as sg2
from tests.golden.goldcheck import Case


class Module:
    """A network's part as torch pickles it: parameters, buffers, parts and attributes."""

    def __init__(self, **attributes):
        self.training, self._parameters, self._buffers, self._modules = True, {}, {}, {}
        self.__dict__.update(attributes)


class EasyDict(dict):
    """NVlabs' dictionary with attributes, as pickles name it."""


EasyDict.__module__, EasyDict.__qualname__ = "dnnlib.util", "EasyDict"


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
    names = ("torch_utils", "torch_utils.persistence", "dnnlib", "dnnlib.util")
    made = {name: types.ModuleType(name) for name in names}
    made["dnnlib.util"].EasyDict = EasyDict
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


def wrapped(net: Module) -> Module:
    """A network as DataParallel holds it."""
    outer = Module()
    outer._modules["module"] = net
    return outer


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


def projected(args: dict, size: int, told: dict) -> tuple[dict, torch.nn.Module]:
    """A snapshot's content of a FastGAN generator, and ours with the same weights."""
    torch.manual_seed(0)
    source = golden_projected.generator(args, size)
    with torch.no_grad():
        for p in source.module.parameters():
            p.add_(0.05 * torch.randn(p.shape))  # noise and biases begin at 0
        source.module.train()(torch.randn(4, args["z_dim"]), torch.arange(4) % 3)
    state = {name: tensor for name, tensor in source.state.items()}
    if args["G"].get("cond"):
        state = {n: t for n, t in state.items() if not n.endswith("num_batches_tracked")}
    spare = {f"synthesis.feat_{2 * size}.1.weight_orig": torch.ones(2, 2)}
    net = tree(state | spare, Module, {"": told | {"img_resolution": size}})
    return {"G": net, "G_ema": net}, source.module.eval()


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


def hf_layers(widths: tuple[int, ...]) -> list[tuple[bool, int, int]]:
    """Two blocks a stage, the second of which doubles the size: (doubles, inputs, outputs)."""
    return [
        layer
        for inputs, outputs in pairwise(widths)
        for layer in ((False, inputs, inputs), (True, inputs, outputs))
    ]


class HfNorm(torch.nn.Module):
    """The port's batch norm: statistics for 51 truncations, and a gain and bias of a condition."""

    def __init__(self, features: int, condition: int):
        super().__init__()
        self.register_buffer("running_means", 0.2 * torch.randn(51, features))
        self.register_buffer("running_vars", torch.rand(51, features) + 0.5)
        if condition:
            self.scale, self.offset = (
                normalized(torch.nn.Linear(condition, features, bias=False)) for _ in range(2)
            )
        else:
            self.weight = torch.nn.Parameter(1 + 0.2 * torch.randn(features))
            self.bias = torch.nn.Parameter(0.2 * torch.randn(features))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        mean, var = (s[-1][:, None, None] for s in (self.running_means, self.running_vars))
        x = (x - mean) / (var + 1e-4).sqrt()
        if condition is None:
            return x * self.weight[:, None, None] + self.bias[:, None, None]
        return (
            x * (1 + self.scale(condition)[..., None, None])
            + self.offset(condition)[..., None, None]
        )


def normalized(layer: torch.nn.Module) -> torch.nn.Module:
    return torch.nn.utils.spectral_norm(layer, eps=1e-4)


class HfBlock(torch.nn.Module):
    def __init__(self, up: bool, inputs: int, outputs: int, condition: int):
        super().__init__()
        hidden, self.up, self.outputs = inputs // 4, up, outputs
        for i, (a, b, k) in enumerate(
            [(inputs, hidden, 1), (hidden, hidden, 3), (hidden, hidden, 3), (hidden, outputs, 1)]
        ):
            self.add_module(f"bn_{i}", HfNorm(a, condition))
            self.add_module(f"conv_{i}", normalized(torch.nn.Conv2d(a, b, k, padding=k // 2)))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        h = x
        for i in range(4):
            h = getattr(self, f"bn_{i}")(h, condition).relu()
            h = h.repeat_interleave(2, 2).repeat_interleave(2, 3) if self.up and i == 1 else h
            h = getattr(self, f"conv_{i}")(h)
        x = x[:, : self.outputs]
        return h + (x.repeat_interleave(2, 2).repeat_interleave(2, 3) if self.up else x)


class HfAttention(torch.nn.Module):
    def __init__(self, c: int):
        super().__init__()
        sizes = {"theta": (c, c // 8), "phi": (c, c // 8), "g": (c, c // 2), "o_conv": (c // 2, c)}
        for name, (a, b) in sizes.items():
            conv = torch.nn.Conv2d(a, b, 1, bias=False)
            self.add_module(f"snconv1x1_{name}", normalized(conv))
        self.gamma = torch.nn.Parameter(torch.tensor([0.7]))

    def forward(self, x: Tensor) -> Tensor:
        pool = torch.nn.functional.max_pool2d
        theta = self.snconv1x1_theta(x).flatten(2)
        phi = pool(self.snconv1x1_phi(x), 2).flatten(2)
        g = pool(self.snconv1x1_g(x), 2).flatten(2)
        found = g @ (theta.mT @ phi).softmax(-1).mT
        return x + self.gamma * self.snconv1x1_o_conv(found.view(len(x), -1, *x.shape[2:]))


class HfBigGAN(torch.nn.Module):
    """BigGAN-deep as the port computes it: the layouts that came from TensorFlow, written anew."""

    def __init__(
        self,
        widths: tuple[int, ...],
        attention: int,
        *,
        ch: int = 4,
        z_dim: int = 10,
        classes: int = 7,
    ):
        super().__init__()
        self.ch, inner = ch, torch.nn.Module()
        self.embeddings, self.generator = torch.nn.Linear(classes, z_dim, bias=False), inner
        inner.gen_z = normalized(torch.nn.Linear(2 * z_dim, 256 * ch))
        rows = hf_layers(widths)
        layers = [HfBlock(up, i * ch, o * ch, 2 * z_dim) for up, i, o in rows]
        layers.insert(attention, HfAttention(rows[attention][1] * ch))
        inner.layers = torch.nn.ModuleList(layers)
        inner.bn = HfNorm(ch, 0)
        inner.conv_to_rgb = normalized(torch.nn.Conv2d(ch, ch, 3, padding=1))

    def forward(self, z: Tensor, classes: Tensor) -> Tensor:
        condition, inner = torch.cat([z, self.embeddings(classes)], 1), self.generator
        x = inner.gen_z(condition).view(-1, 4, 4, 16 * self.ch).permute(0, 3, 1, 2)
        for layer in inner.layers:
            x = layer(x, condition) if isinstance(layer, HfBlock) else layer(x)
        return inner.conv_to_rgb(inner.bn(x).relu())[:, :3].tanh()


def hf_folder(folder: Path, widths: tuple[int, ...], attention: int) -> HfBigGAN:
    """Writes the port's two files; returns the network, evaluating."""
    torch.manual_seed(0)
    net = HfBigGAN(widths, attention)
    with torch.no_grad():
        for _ in range(3):
            net.train()(torch.randn(2, 10), torch.eye(7)[:2])
    folder.mkdir()
    torch.save(net.state_dict(), folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    config = {"layers": hf_layers(widths), "attention_layer_position": attention, "eps": 1e-4}
    (folder / "config.json").write_text(json.dumps(config))
    return net.eval()
