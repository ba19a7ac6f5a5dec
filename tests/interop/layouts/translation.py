"""Networks of CycleGAN, pix2pix, CUT: names and shapes."""

from tests.interop.layouts.base import Shapes, plain, under


class Row:
    """A row of layers, numbered as a sequence numbers them."""

    def __init__(self, norm: str, prefix: str = "model."):
        self.norm, self.prefix, self.place = norm, prefix, 0
        self.shapes: Shapes = {}

    def skip(self, count: int = 1) -> None:
        self.place += count

    def add(self, shapes: Shapes) -> None:
        self.shapes |= under(f"{self.prefix}{self.place}.", shapes)
        self.place += 1

    def conv(self, inputs: int, outputs: int, kernel: int, *, bias: bool | None = None) -> None:
        bias = self.norm.endswith("instance") if bias is None else bias
        self.add(plain(inputs, outputs, kernel, kernel, bias=bias))

    def normalize(self, features: int) -> None:
        self.add(norm_of(self.norm, features))


def norm_of(norm: str, features: int) -> Shapes:
    """Batch norm's, or none; "old instance": as torch 0.3 kept it."""
    statistics: Shapes = {"running_mean": (features,), "running_var": (features,)}
    if norm == "batch":
        affine: Shapes = {"weight": (features,), "bias": (features,)}
        return affine | statistics | {"num_batches_tracked": ()}
    return statistics if norm == "old instance" else {}


def resnet(
    *,
    inputs: int = 3,
    outputs: int = 3,
    ngf: int = 3,
    blocks: int = 9,
    norm: str = "instance",
    dropout: bool = False,
    blur: bool = False,
    blur_up: bool = False,
) -> Shapes:
    row = Row(norm)
    row.skip()  # padding
    row.conv(inputs, ngf, 7)
    row.normalize(ngf)
    row.skip()  # ReLU
    for features in (ngf, 2 * ngf):
        row.conv(features, 2 * features, 3)
        row.normalize(2 * features)
        row.skip()
        if blur:
            row.add({"filt": (2 * features, 1, 3, 3)})
    for _ in range(blocks):
        inner = Row(norm, "conv_block.")
        for last in (False, True):
            inner.skip()
            inner.conv(4 * ngf, 4 * ngf, 3)
            inner.normalize(4 * ngf)
            inner.skip(0 if last else 1 + dropout)
        row.add(inner.shapes)
    for features in (4 * ngf, 2 * ngf):
        if blur_up:
            row.add({"filt": (features, 1, 4, 4)})
            row.conv(features, features // 2, 3)
        else:
            bias: Shapes = {"bias": (features // 2,)} if norm.endswith("instance") else {}
            row.add({"weight": (features, features // 2, 3, 3)} | bias)
        row.normalize(features // 2)
        row.skip()
    row.skip()  # padding
    row.conv(ngf, outputs, 7, bias=True)
    return row.shapes


def unet(
    *, levels: int, inputs: int = 3, outputs: int = 3, ngf: int = 3, norm: str = "batch"
) -> Shapes:
    """Blocks within blocks; the innermost has no norm on its way down."""
    biased = norm == "instance"
    widths = [ngf * min(1 << level, 8) for level in range(levels)]
    shapes: Shapes = {}
    prefix = "model."
    for level, features in enumerate(widths):
        outer = inputs if level == 0 else widths[level - 1]
        down, inner = (0, 1) if level == 0 else (1, 3)
        innermost = level == levels - 1
        layer = plain(outer, features, 4, 4, bias=biased)
        shapes |= under(f"{prefix}model.{down}.", layer)
        if 0 < level < levels - 1:
            shapes |= under(f"{prefix}model.2.", norm_of(norm, features))
        up = 3 if level == 0 or innermost else 5
        made = outputs if level == 0 else outer
        seen = features if innermost else 2 * features
        back: Shapes = {"weight": (seen, made, 4, 4)}
        back |= {"bias": (made,)} if biased or level == 0 else {}
        shapes |= under(f"{prefix}model.{up}.", back)
        if level:
            shapes |= under(f"{prefix}model.{up + 1}.", norm_of(norm, made))
        prefix += f"model.{inner}."
    return shapes


def patchgan(
    *, inputs: int = 3, ndf: int = 3, layers: int = 3, norm: str = "instance", blur: bool = False
) -> Shapes:
    row = Row(norm)
    row.conv(inputs, ndf, 4, bias=True)
    row.skip()  # leaky ReLU
    if blur:
        row.add({"filt": (ndf, 1, 3, 3)})
    before = ndf
    for i in range(1, layers + 1):
        features = ndf * min(1 << i, 8)
        row.conv(before, features, 4)
        row.normalize(features)
        row.skip()
        if blur and i < layers:
            row.add({"filt": (features, 1, 3, 3)})
        before = features
    row.conv(before, 1, 4, bias=True)
    return row.shapes


def pixel(*, inputs: int = 3, ndf: int = 3, norm: str = "instance") -> Shapes:
    row = Row(norm, "net.")
    row.conv(inputs, ndf, 1, bias=True)
    row.skip()
    row.conv(ndf, 2 * ndf, 1)
    row.normalize(2 * ndf)
    row.skip()
    row.conv(2 * ndf, 1, 1)
    return row.shapes


def projection(widths: list[int], features: int = 16) -> Shapes:
    """CUT's F."""
    shapes: Shapes = {}
    for i, inputs in enumerate(widths):
        shapes |= under(f"mlp_{i}.0.", plain(inputs, features))
        shapes |= under(f"mlp_{i}.2.", plain(features, features))
    return shapes
