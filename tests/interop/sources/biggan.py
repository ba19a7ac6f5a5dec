"""BigGAN-PyTorch's folders."""

from typing import Any

from largegan.interop.importing import ImportOptions
from tests.interop import layouts
from tests.interop.sources.base import NOTHING, Source, as_row, as_tar, folder, square


def biggan(
    resolution: int = 32,
    *,
    g: dict | None = None,
    d: dict | None = None,
    classes: int = 5,
    files: tuple[str, ...] = ("G", "D", "G_ema"),
    copy: str = "",
    options: dict | None = None,
    wishes: ImportOptions = NOTHING,
    **how: Any,
) -> Source:
    g, d = {"classes": classes} | (g or {}), {"classes": classes} | (d or {})
    shapes = {
        "G": layouts.biggan_g(resolution=resolution, **g),
        "D": layouts.biggan_d(resolution=resolution, **d),
    }
    return Source(
        folder({f"{name}{copy}.pth": shapes[name[0]] for name in files}, **how),
        "biggan",
        square(resolution, classes, g.get("channels", 3)),
        {"g_attention_blocks": []} | (options or {}),
        {{"G_ema": "G_ema.net"}.get(name, name): shapes[name[0]] for name in files},
        wishes,
    )


BIGGAN = {
    **{f"biggan {side}": biggan(side, g={"ch": 2}) for side in (32, 64, 128)},
    "biggan 256, attention at 128": biggan(
        256, g={"ch": 8, "attention": (128,)}, d={"ch": 8, "attention": (64,)},
        options={"g_attention_blocks": [4], "d_attention_blocks": [1]},
    ),
    "biggan 512, G_ema only": biggan(512, files=("G_ema",)),
    "biggan 64, attention at two sizes": biggan(
        64, g={"ch": 8, "attention": (16, 32)}, options={"g_attention_blocks": [1, 2]}
    ),
    "biggan not shared": biggan(g={"shared": 0, "hier": False}, options={"shared_dim": 0}),
    "biggan not hierarchical": biggan(g={"hier": False, "z": 7}, options={"z_dim": 7}),
    "biggan of another D": biggan(d={"ch": 3, "wide": False}, options={"d_channels": 3}),
    "biggan that follows 2 singular values": biggan(g={"values": 2}),
    "biggan with its own norm": biggan(g={"own_norm": True}),
    "biggan of several GPUs": biggan(prefix="module."),
    "biggan in torch's row of pickles": biggan(save=as_row),
    "biggan in torch's tar": biggan(save=as_tar),
    "biggan half": biggan(half=True),
    "biggan gray": biggan(g={"channels": 1}, d={"channels": 1}),
    "biggan copy": biggan(copy="_copy0"),
    "biggan best copy": biggan(copy="_best1", wishes=ImportOptions(epoch="best1")),
}  # fmt: skip
