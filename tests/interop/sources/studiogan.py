"""StudioGAN's folders."""

from typing import Any

from tests.interop import layouts
from tests.interop.sources.base import Source, folder, square


def studiogan(
    recipe: str, resolution: int, *, g: layouts.Shapes, d: layouts.Shapes | None = None,
    ema: bool = True, classes: int = 0, options: dict | None = None, kept: tuple = ("G", "D"),
    step: str = "best-weights-step=96000", **how: Any,
) -> Source:  # fmt: skip
    files = {f"model=G-{step}.pth": g} | ({f"model=D-{step}.pth": d} if d is not None else {})
    files |= {f"model=G_ema-{step}.pth": g} if ema else {}
    nets = {"G": g, "D": d if "D" in kept else None, "G_ema.net": g if ema else None}
    return Source(
        folder(files, within="state_dict", **how),
        recipe,
        square(resolution, classes),
        options or {},
        {name: shapes for name, shapes in nets.items() if shapes is not None},
    )


def studio(resolution: int, *, g: dict, d: dict, **shared: Any) -> dict[str, layouts.Shapes]:
    return {
        "g": layouts.studio_g(resolution=resolution, **shared, **g),
        "d": layouts.studio_d(resolution=resolution, **shared, **d),
    }


STUDIOGAN = {
    "studiogan sngan 32": studiogan("sngan", 32, **studio(32, g={"ch": 2}, d={"ch": 3})),
    "studiogan sngan 128, 4 classes": studiogan(
        "sngan", 128, classes=4, **studio(128, classes=4, g={}, d={})
    ),
    "studiogan sngan 64, no average": studiogan("sngan", 64, ema=False, **studio(64, g={}, d={})),
    "studiogan sagan 32": studiogan(
        "sagan", 32, **studio(32, ch=2, g={"spectral": True, "attention": (2,)}, d={}),
        options={"g_attention_blocks": [1], "d_attention_blocks": []},
    ),
    "studiogan sagan 128": studiogan(
        "sagan", 128, classes=3,
        **studio(128, classes=3, ch=8, g={"spectral": True, "attention": (4,)},
                 d={"attention": (1,)}),
        options={"g_attention_blocks": [3], "d_attention_blocks": [0]},
    ),
    "studiogan biggan 64": studiogan(
        "biggan", 64, classes=3,
        **studio(64, classes=3, ch=8, g={"spectral": True, "attention": (3,), "shared": 6,
                                         "z": 20}, d={"attention": (1,)}),
    ),
    "studiogan biggan without classes": studiogan(
        "biggan", 32, **studio(32, g={"spectral": True, "hier": True, "z": 12}, d={}),
        options={"z_dim": 12, "shared_dim": 0},
    ),
    "studiogan of several GPUs": studiogan(
        "sngan", 32, **studio(32, g={}, d={}), prefix="module."
    ),
    "studiogan wgan_gp": studiogan(
        "wgan_gp", 32, **studio(32, g={}, d={"spectral": False}), kept=("G",)
    ),
    "studiogan dcgan": studiogan(
        "sngan", 32, g=layouts.studio_dcgan_g(), d=layouts.studio_dcgan_d(), kept=("G",),
        options={"architecture": "cnn"},
    ),
    "studiogan sngan's dcgan, 3 classes": studiogan(
        "sngan", 32, classes=3, g=layouts.studio_dcgan_g(classes=3),
        d=layouts.studio_dcgan_d(spectral=True, classes=3), options={"architecture": "cnn"},
    ),
}  # fmt: skip
