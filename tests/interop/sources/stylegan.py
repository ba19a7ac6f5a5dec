"""Snapshots of StyleGAN2 and StyleGAN3."""

from typing import Any

from torch import Tensor

from tests.interop import layouts, peers
from tests.interop.peers import EasyDict, Module
from tests.interop.sources.base import Source, pickled, square


def told(net: str, *, clamp: float | None, **kwargs: Any) -> dict[str, dict]:
    """Attributes of a pickled network of NVlabs': arguments, and what its layers remember."""
    inner = {
        "G": {
            "mapping": {"num_layers": kwargs.pop("layers", 2), "w_avg_beta": 0.998},
            "synthesis.b4.conv1": {"conv_clamp": clamp},
        },
        "D": {"b4.conv": {"conv_clamp": clamp}},
    }
    return {"": {"_init_args": (), "_init_kwargs": kwargs}} | inner[net]


def stylegan2(
    *,
    resolution: int = 16,
    c: int = 0,
    channels: int = 3,
    g: dict | None = None,
    d: dict | None = None,
    synthesis: dict | None = None,
    g_mapping: dict | None = None,
    judge: dict | None = None,
    clamp: float | None = 256,
    keys: tuple[str, ...] = ("G", "D", "G_ema"),
    kind: type = dict,
    wrapped: bool = False,
    half: bool = False,
    told_classes: int | None = None,
    judge_state: dict[str, Tensor] | None = None,
    options: dict | None = None,
) -> Source:
    """`g` and `d`: arguments of the layouts; `synthesis`, `g_mapping`, `judge`: of constructors.

    `told_classes` is what the constructors are told of `c`; `judge_state` another network's.
    """
    g, d = g or {}, d or {}
    shapes = {
        "G": layouts.stylegan2_g(resolution=resolution, c=c, channels=channels, **g),
        "D": layouts.stylegan2_d(resolution=resolution, c=c, channels=channels, **d),
    }
    shared = {"c_dim": c if told_classes is None else told_classes}
    shared |= {"img_resolution": resolution, "img_channels": channels}
    inner = kind(channel_base=64, channel_max=8, conv_clamp=clamp)
    inner.update(synthesis or {})
    g_told = shared | {"z_dim": g.get("z", 8), "w_dim": g.get("w", 8)}
    mapping = kind(num_layers=g.get("layers", 2), **(g_mapping or {}))
    g_told |= {"synthesis_kwargs": inner, "mapping_kwargs": mapping}
    d_told = shared | {"channel_base": 64, "channel_max": 8, "conv_clamp": clamp} | (judge or {})
    d_told = {k: kind(v) if isinstance(v, dict) else v for k, v in d_told.items()}
    nets = {
        "G": told("G", clamp=clamp, layers=g.get("layers", 2), **g_told),
        "D": told("D", clamp=clamp, **d_told),
    }
    content: dict[str, Any] = {"training_set_kwargs": kind(path="x.zip"), "augment_pipe": None}
    for key in keys:
        state = layouts.tensors(shapes[key[0]], seed=len(content))
        state = {name: t.half() if half else t for name, t in state.items()}
        state = judge_state or state if key == "D" else state
        content[key] = peers.tree(state, Module, nets[key[0]])
        if wrapped:
            content[key] = peers.wrapped(content[key])
    return Source(
        pickled(content),
        "stylegan2",
        square(resolution, c, channels),
        {"augment": "none", "w_avg_beta": 0.998} | (options or {}),
        {{"G_ema": "G_ema.net"}.get(key, key): shapes[key[0]] for key in keys},
    )


STYLEGAN2 = {
    "stylegan2 8": stylegan2(resolution=8),
    "stylegan2 128, 7 classes, 8 layers": stylegan2(
        resolution=128,
        c=7,
        g={"layers": 8, "z": 6, "w": 10, "base": 256},
        d={"base": 256},
        synthesis={"channel_base": 256},
        judge={"channel_base": 256},
        options={"mapping_layers": 8, "z_dim": 6, "w_dim": 10, "channel_base": 256},
    ),
    "stylegan2 1024": stylegan2(
        resolution=1024,
        g={"base": 1024, "most": 2},
        d={"base": 1024, "most": 2},
        synthesis={"channel_base": 1024, "channel_max": 2},
        judge={"channel_base": 1024, "channel_max": 2},
    ),
    "stylegan2 gray": stylegan2(channels=1),
    "stylegan2 with alpha": stylegan2(channels=4),
    "stylegan2 without D": stylegan2(keys=("G", "G_ema")),
    "stylegan2 G_ema only": stylegan2(keys=("G_ema",)),
    "stylegan2 G only": stylegan2(keys=("G", "D")),
    "stylegan2 in EasyDicts": stylegan2(kind=EasyDict, judge={"epilogue_kwargs": {}}),
    "stylegan2 half": stylegan2(half=True),
    "stylegan2 in DataParallel": stylegan2(wrapped=True),
    "stylegan2 one mapping layer": stylegan2(g={"layers": 1}, options={"mapping_layers": 1}),
    "stylegan2 no noise": stylegan2(
        g={"noise": False}, synthesis={"use_noise": False}, options={"noise": False}
    ),
    "stylegan2 no clamp": stylegan2(clamp=None, options={"conv_clamp": None}),
    "stylegan2 spread of 3": stylegan2(
        d={"spread": 3},
        judge={"epilogue_kwargs": {"mbstd_group_size": 2, "mbstd_num_channels": 3}},
        options={"mbstd_group": 2, "mbstd_features": 3},
    ),
    "stylegan2 no spread": stylegan2(
        d={"spread": 0},
        judge={"epilogue_kwargs": {"mbstd_num_channels": 0}},
        options={"mbstd_features": 0},
    ),
    "stylegan2 another D": stylegan2(
        d={"base": 32, "most": 6}, judge={"channel_base": 32, "channel_max": 6}
    ),
    "stylegan2 all that may be said": stylegan2(
        synthesis={
            "num_fp16_res": 4,
            "fp16_channels_last": True,
            "fused_modconv_default": "inference_only",
            "resample_filter": [1, 3, 3, 1],
            "activation": "lrelu",
            "kernel_size": 3,
        },
        judge={
            "num_fp16_res": 4,
            "cmap_dim": None,
            "block_kwargs": {
                "freeze_layers": 0, "resample_filter": [1, 3, 3, 1], "activation": "lrelu",
            },
            "mapping_kwargs": {"num_layers": 8, "lr_multiplier": 0.01, "activation": "lrelu"},
            "epilogue_kwargs": {"activation": "lrelu", "mbstd_group_size": 4},
        },
    ),
    "stylegan2 converted from TensorFlow": stylegan2(
        kind=EasyDict,
        clamp=None,
        synthesis={
            "architecture": "skip", "resample_filter": [1, 3, 3, 1], "use_noise": True,
            "activation": "lrelu", "num_fp16_res": 0,
        },
        g_mapping={
            "embed_features": None, "layer_features": 8, "activation": "lrelu",
            "lr_multiplier": 0.01, "w_avg_beta": 0.998,
        },
        judge={
            "cmap_dim": 8,
            "num_fp16_res": 0,
            "block_kwargs": {"activation": "lrelu", "resample_filter": [1, 3, 3, 1]},
            "mapping_kwargs": {"num_layers": 0, "embed_features": 8, "layer_features": 8},
            "epilogue_kwargs": {"mbstd_group_size": 4, "mbstd_num_channels": 1},
        },
        options={"conv_clamp": None},
    ),
    **{
        f"stylegan2 {g} and {d}": stylegan2(
            g={"architecture": g},
            d={"architecture": d},
            synthesis={"architecture": g},
            judge={"architecture": d},
            options={"g_architecture": g, "d_architecture": d},
        )
        for g in ("skip", "resnet", "orig")
        for d in ("skip", "resnet", "orig")
    },
}  # fmt: skip


def stylegan3(
    *,
    resolution: int = 32,
    kind: str = "t",
    c: int = 0,
    channels: int = 3,
    g: dict | None = None,
    said: dict | None = None,
    judge: dict | None = None,
    keys: tuple[str, ...] = ("G", "D", "G_ema"),
    options: dict | None = None,
) -> Source:
    """`said`, `judge`: more arguments of the constructors."""
    g = {"base": 64, "most": 6, "layers": 6} | (g or {})
    shared = {"c_dim": c, "img_resolution": resolution, "img_channels": channels}
    shapes = {
        "G": layouts.stylegan3_g(resolution=resolution, kind=kind, c=c, channels=channels, **g),
        "D": layouts.stylegan2_d(resolution=resolution, c=c, channels=channels, base=256),
    }
    radial = {"conv_kernel": 1, "use_radial_filters": True} if kind == "r" else {}
    g_told = shared | radial | {"z_dim": 8, "w_dim": 8, "mapping_kwargs": {"num_layers": 2}}
    g_told |= {"channel_base": g["base"], "channel_max": g["most"], "num_layers": g["layers"]}
    d_told = shared | {"channel_base": 256, "channel_max": 8} | (judge or {})
    nets = {
        "G": {"": {"_init_args": (), "_init_kwargs": g_told | (said or {})},
              "mapping": {"num_layers": 2, "w_avg_beta": 0.998}},
        "D": told("D", clamp=(judge or {}).get("conv_clamp", 256), **d_told),
    }  # fmt: skip
    content = {
        key: peers.tree(layouts.tensors(shapes[key[0]], seed=i), Module, nets[key[0]])
        for i, key in enumerate(keys)
    }
    return Source(
        pickled(content),
        "stylegan3",
        square(resolution, c, channels),
        {"configuration": kind, "layers": g["layers"]} | (options or {}),
        {{"G_ema": "G_ema.net"}.get(key, key): shapes[key[0]] for key in keys},
    )


STYLEGAN3 = {
    "stylegan3 t 32": stylegan3(),
    "stylegan3 r 64, 3 classes": stylegan3(resolution=64, kind="r", c=3, g={"layers": 8}),
    "stylegan3 t 256, 14 layers": stylegan3(
        resolution=256, g={"layers": 14, "base": 512, "most": 4}
    ),
    "stylegan3 gray, G_ema only": stylegan3(channels=1, keys=("G_ema",)),
    "stylegan3 all that may be said": stylegan3(
        g={"critical": 1, "margin": 6, "filter_size": 4},
        said={
            "num_critical": 1,
            "margin_size": 6,
            "filter_size": 4,
            "first_cutoff": 2,
            "first_stopband": 2**2.1,
            "last_stopband_rel": 2**0.3,
            "output_scale": 0.25,
            "lrelu_upsampling": 2,
            "num_fp16_res": 4,
            "conv_clamp": 256,
            "magnitude_ema_beta": 0.999,
        },
        judge={
            "architecture": "resnet",
            "cmap_dim": None,
            "num_fp16_res": 4,
            "block_kwargs": {"freeze_layers": 0},
            "mapping_kwargs": {},
            "epilogue_kwargs": {"mbstd_group_size": 2, "mbstd_num_channels": 1},
        },
        options={"critical": 1, "margin": 6, "filter_size": 4, "mbstd_group": 2},
    ),
    "stylegan3 without clamps": stylegan3(
        said={"conv_clamp": None}, judge={"conv_clamp": None}, options={"conv_clamp": None}
    ),
}
