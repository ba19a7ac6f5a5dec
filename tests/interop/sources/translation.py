"""Folders of CycleGAN, pix2pix and CUT."""

from collections.abc import Callable
from typing import Any

from largegan.interop.importing import ImportOptions
from largegan.recipe import DataSpec
from tests.interop import layouts
from tests.interop.sources.base import NOTHING, Source, as_row, folder, square


def opt(**said: Any) -> dict[str, str]:
    lines = [f"{key:>25}: {value!s:<20}\t[default: None]" for key, value in said.items()]
    return {"train_opt.txt": "\n".join(["--------- Options ---------", *lines, "- End -"])}


def cyclegan(
    *, g: dict | None = None, d: dict | None = None, inputs: int = 3, outputs: int = 3,
    make: Callable[..., layouts.Shapes] = layouts.resnet, judge: Callable = layouts.patchgan,
    options: dict | None = None, side: int = 256, epoch: str = "latest",
    wishes: ImportOptions = NOTHING, **how: Any,
) -> Source:  # fmt: skip
    g, d = g or {}, d or {}
    files = {
        "G_A": make(inputs=inputs, outputs=outputs, **g),
        "G_B": make(inputs=outputs, outputs=inputs, **g),
        "D_A": judge(inputs=outputs, **d),
        "D_B": judge(inputs=inputs, **d),
    }
    ours = {"G_A": "G_ab", "G_B": "G_ba", "D_A": "D_b", "D_B": "D_a"}
    return Source(
        folder({f"{epoch}_net_{name}.pth": shapes for name, shapes in files.items()}, **how),
        "cyclegan",
        square(side, 0, inputs, outputs),
        options or {},
        {ours[name]: shapes for name, shapes in files.items()},
        wishes,
    )


def alone(
    recipe: str, *, g: layouts.Shapes, d: layouts.Shapes | None = None,
    f: layouts.Shapes | None = None, spec: DataSpec, options: dict | None = None,
    wishes: ImportOptions = NOTHING, **how: Any,
) -> Source:  # fmt: skip
    """pix2pix or CUT."""
    nets = {name: shapes for name, shapes in (("G", g), ("D", d), ("F", f)) if shapes is not None}
    return Source(
        folder({f"latest_net_{name}.pth": shapes for name, shapes in nets.items()}, **how),
        recipe,
        spec,
        options or {},
        {name: shapes for name, shapes in nets.items() if shapes},
        wishes,
    )


BATCH = {"norm": "batch"}
TRANSLATORS = {
    "cyclegan 9 blocks": cyclegan(options={"depth": 9, "norm": "instance"}),
    "cyclegan 6 blocks": cyclegan(
        g={"blocks": 6}, options={"depth": 6}, side=128, wishes=ImportOptions(resolution=128)
    ),
    "cyclegan batch norm": cyclegan(g=BATCH, d=BATCH, options={"norm": "batch"}),
    "cyclegan no norm": cyclegan(g={"norm": "none"}, d={"norm": "none"}, options={"norm": "none"}),
    "cyclegan dropout": cyclegan(g={"dropout": True}, options={"dropout": True}),
    "cyclegan gray to color": cyclegan(inputs=1, outputs=3, options={"identity": 0.0}),
    "cyclegan of torch 0.3": cyclegan(g={"norm": "old instance"}, d={"norm": "old instance"}),
    "cyclegan of several GPUs": cyclegan(prefix="module.", save=as_row),
    "cyclegan epoch": cyclegan(epoch="200", wishes=ImportOptions(epoch="200")),
    "cyclegan iteration": cyclegan(epoch="iter_5000", wishes=ImportOptions(epoch="iter_5000")),
    "cyclegan unet_128": cyclegan(
        make=layouts.unet, g={"levels": 7, "norm": "instance"}, side=128,
        options={"architecture": "unet", "depth": 7},
    ),
    "cyclegan D of pixels": cyclegan(judge=layouts.pixel, options={"d_layers": 0}),
    "cyclegan D of 2 layers": cyclegan(d={"layers": 2, "ndf": 5}, options={"d_layers": 2}),
    "cyclegan wide D of 5 layers": cyclegan(d={"layers": 5}, options={"d_layers": 5}),
    "cyclegan said": cyclegan(
        texts=opt(lambda_A=5.0, lambda_identity=0.0, crop_size=64, gan_mode="vanilla", lr=1e-4),
        side=64,
        options={"cycle_a": 5.0, "identity": 0.0, "gan_loss": "vanilla", "lr": 1e-4},
    ),
    "pix2pix unet_256": alone(
        "pix2pix", g=layouts.unet(levels=8), d=layouts.patchgan(inputs=6, norm="batch"),
        spec=square(256, 0, 3, 3), options={"depth": 8, "norm": "batch"},
    ),
    "pix2pix unet_128, gray to 4": alone(
        "pix2pix", g=layouts.unet(levels=7, inputs=1, outputs=4),
        d=layouts.patchgan(inputs=5, norm="batch"), spec=square(128, 0, 1, 4),
    ),
    "pix2pix back": alone(
        "pix2pix", g=layouts.unet(levels=7, inputs=1, outputs=3),
        d=layouts.patchgan(inputs=4, norm="batch"), spec=square(128, 0, 3, 1),
        texts=opt(direction="BtoA", no_dropout=True, crop_size=128),
        options={"direction": "b_to_a", "dropout": False},
    ),
    "pix2pix of a ResNet": alone(
        "pix2pix", g=layouts.resnet(norm="batch", blocks=6),
        d=layouts.patchgan(inputs=6, norm="batch"), spec=square(256, 0, 3, 3),
        options={"architecture": "resnet", "depth": 6},
    ),
    "pix2pix G only": alone("pix2pix", g=layouts.unet(levels=8), spec=square(256, 0, 3, 3)),
    "pix2pix said as before 2019": alone(
        "pix2pix", g=layouts.unet(levels=8), d=layouts.patchgan(inputs=6, norm="batch"),
        spec=square(64, 0, 3, 3), texts=opt(which_direction="BtoA", no_lsgan=True, fineSize=64),
        options={"direction": "b_to_a", "gan_loss": "vanilla"},
    ),
    "cut": alone(
        "cut", g=layouts.resnet(blur=True, blur_up=True), d=layouts.patchgan(blur=True),
        f=layouts.projection([3, 6, 12, 12, 12]), spec=square(256, 0, 3, 3),
        options={"projection": 16, "antialias": True},
    ),
    "cut without projection": alone(
        "cut", g=layouts.resnet(), d=layouts.patchgan(), f={}, spec=square(256, 0, 3, 3),
        options={"projection": 0, "antialias": False},
    ),
    "fastcut said": alone(
        "cut", g=layouts.resnet(blur=True, blur_up=True), d=layouts.patchgan(blur=True),
        f=layouts.projection([3, 6], 8), spec=square(64, 0, 3, 3),
        texts=opt(nce_layers="0,4", nce_idt=False, flip_equivariance=True, lambda_NCE=10.0,
                  crop_size=64, direction="BtoA"),
        options={"nce_layers": [0, 4], "nce_identity": False, "flip_equivariance": True,
                 "nce": 10.0, "direction": "b_to_a"},
    ),
    "cut that enlarges without blur": alone(
        "cut", g=layouts.resnet(blur=True), d=layouts.patchgan(blur=True),
        spec=square(256, 0, 3, 3), options={"antialias": True, "antialias_up": False},
    ),
    "horse2zebra's G alone": alone("cut", g=layouts.resnet(), spec=square(256, 0, 3, 3)),
}  # fmt: skip
