"""Networks as graphs for other programs, torch.export (.pt2) and ONNX.

Each is compared with the original on three shapes before anybody sees it.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim

from largegan.errors import ConfigError, EnvironmentFault, UserError
from largegan.layers.spectral_norm import normalized_once
from largegan.ops.runtime import backend
from largegan.recipe import Recipe, TruncatesStyles, geometry_of

TOLERANCE = 1e-4  # of outputs in [-1, 1]: a hundredth of an 8-bit gray level
OPSET = 20
ONNX, PT2 = "model.onnx", "model.pt2"
TRUNCATION = "truncation"  # an input of ONNX that may be left out


class AnySize(nn.Module):
    """A translation network whose padding to whole cells holds for every size as one graph.

    The network itself pads where it must, which a graph would record for the size it was traced
    with. Here sides are always continued by their mirror image, if need be by nothing, and the
    result is always cropped. (Slices would make the graph ask whether anything was cut off.)
    """

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net, self.multiple, self.scale = net, net.multiple, geometry_of(net).scale

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[2:]
        rows, columns = (mirrored(n, self.multiple, image.device) for n in (height, width))
        out = self.net(image.index_select(2, rows).index_select(3, columns))
        rows, columns = (torch.arange(n * self.scale, device=image.device) for n in (height, width))
        return out.index_select(2, rows).index_select(3, columns)


def mirrored(size: int, multiple: int, device: torch.device) -> Tensor:
    """0, ..., size - 1, size - 2, ...: as many indices as the next multiple; see `resample.py`."""
    target = (size + multiple - 1) // multiple * multiple
    period = torch.full((1,), 2 * size - 2, dtype=torch.int64, device=device).clamp_min(1)
    index = torch.remainder(torch.arange(target, device=device), period)
    return torch.minimum(index, period - index)


@dataclass(frozen=True)
class Traceable:
    """A network and what it takes, for tracing and for comparing."""

    net: nn.Module
    names: tuple[str, ...]  # of the inputs
    output: str
    dynamic: tuple[tuple[int, ...], ...]  # for each input the dimensions that may vary
    examples: tuple[tuple[Tensor, ...], ...]  # four: for tracing, and three others to compare
    truncates: bool = False  # whether it takes a truncation behind these inputs


def traceable_translator(net: nn.Module, channels: int) -> Traceable:
    """Batch, height and width vary; sides from 8 pixels on."""
    unit = max(32, net.multiple)
    # Traced with two images and several cells: ones would be taken for constants.
    shapes = [(2, 2 * unit + 2, 2 * unit + 11)]
    shapes += [(1, unit, unit), (3, unit + 5, unit + 13), (1, 2 * unit + 2, unit // 2 - 1)]
    examples = tuple((_noise(n, channels, h, w),) for n, h, w in shapes)
    return Traceable(AnySize(net).eval(), ("image",), "translation", ((0, 2, 3),), examples)


def traceable_generator(net: nn.Module, recipe: Recipe) -> Traceable:
    """The batch varies. Classes, where there are any, are a second input.

    What truncates behind its latents takes that as an input, too; elsewhere latents are truncated.
    """
    classes = recipe.num_classes
    examples = []
    for n in (2, 1, 3, 4):
        z = recipe.latent(n, torch.Generator().manual_seed(n))
        examples.append((z, torch.arange(n) % classes) if classes else (z,))
    names = ("z", "label") if classes else ("z",)
    truncates = isinstance(recipe, TruncatesStyles)
    return Traceable(net, names, "image", ((0,),) * len(names), tuple(examples), truncates)


def _noise(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(shape[-1])) * 2 - 1


def write_pt2(traceable: Traceable, path: Path) -> float:
    """Writes a torch.export program; returns its largest difference to the original.

    Raises ConfigError where the network does not trace, or traces to something else.
    """
    shapes = tuple({d: Dim.DYNAMIC for d in dims} for dims in traceable.dynamic)
    with _tracing("torch.export"), torch.no_grad():
        net = _ready(traceable)
        with backend.using("plain"):
            program = torch.export.export(
                net, traceable.examples[0], dynamic_shapes=shapes, strict=False
            )
        torch.export.save(program, path)
        # Its guards are about memory layout, and would refuse images of a single cell, for which
        # the graph is right all the same, as the comparison shows.
        loaded = torch.export.load(path).module(check_guards=False)
        return compare(traceable, loaded, "torch.export")


def write_onnx(traceable: Traceable, path: Path) -> float:
    """Writes an ONNX file; returns its largest difference, under onnxruntime, to the original.

    Raises EnvironmentFault without the packages, ConfigError as `write_pt2`.
    """
    runtime = _onnx_packages()
    with _tracing("ONNX"), torch.no_grad():
        _as_onnx(traceable).save(path)
        if traceable.truncates:
            _make_optional(path)
        quiet = runtime.SessionOptions()
        quiet.log_severity_level = 3  # it would warn of an input that has an initial value
        session = runtime.InferenceSession(str(path), quiet, providers=["CPUExecutionProvider"])

        def run(*inputs: Tensor, **truncation: Tensor) -> Tensor:
            arrays = dict(zip(traceable.names, inputs, strict=True)) | truncation
            found = session.run(None, {name: x.numpy() for name, x in arrays.items()})
            return torch.from_numpy(found[0])

        return compare(traceable, run, "ONNX", truncated=traceable.truncates)


def _as_onnx(traceable: Traceable):
    """The `torch.onnx.ONNXProgram` of a network; a truncation is its last input."""
    net, names, inputs = _ready(traceable), list(traceable.names), traceable.examples[0]
    shapes = tuple({d: Dim.DYNAMIC for d in dims} for dims in traceable.dynamic)
    if traceable.truncates:
        net, names = Truncated(net), [*names, TRUNCATION]
        inputs, shapes = (*inputs, torch.tensor(0.5)), ((*shapes, {}),)
    with backend.using("plain"):
        return torch.onnx.export(
            net,
            inputs,
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=names,
            output_names=[traceable.output],
            opset_version=OPSET,
            verbose=False,
        )


def _ready(traceable: Traceable) -> nn.Module:
    """The network as it is traced: with constants instead of what weights are computed from.

    It has run once: what layers keep of a forward is made before a trace, and not in it.
    """
    net = normalized_once(traceable.net)
    net(*traceable.examples[0])
    return net


class Truncated(nn.Module):
    """A generator whose last input is its truncation, whether there are labels before or not."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, *inputs: Tensor) -> Tensor:
        *others, truncation = inputs
        return self.net(*others, truncation=truncation)


def _make_optional(path: Path) -> None:
    """An input with an initial value need not be given: a truncation of 1 changes nothing."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    none = onnx.numpy_helper.from_array(np.array(1.0, np.float32), TRUNCATION)
    model.graph.initializer.append(none)
    onnx.save(model, path)


def _onnx_packages():
    try:
        import onnx  # noqa: F401  what the exporter needs, found out before it starts
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as fault:
        raise EnvironmentFault(
            f"ONNX needs packages that are not installed ({fault}); `pip install "
            "'largegan[export]'`, or leave onnx out of --forms"
        ) from fault
    return onnxruntime


class _tracing:
    """Around an exporter: its warnings are not ours, and its failures are one sentence."""

    def __init__(self, form: str):
        self.form, self.silence = form, warnings.catch_warnings()

    def __enter__(self) -> None:
        self.silence.__enter__()
        warnings.simplefilter("ignore")

    def __exit__(self, kind, fault, trace) -> None:
        self.silence.__exit__(kind, fault, trace)
        if fault is None or isinstance(fault, UserError | OSError | KeyboardInterrupt):
            return
        first = next((line for line in str(fault).splitlines() if line.strip()), kind.__name__)
        raise ConfigError(
            f"this network cannot be written as {self.form} ({kind.__name__}: {first[:200]}); "
            "leave that form out of --forms"
        ) from fault


@torch.no_grad()
def compare(
    traceable: Traceable, run: Callable[..., Tensor], form: str, *, truncated: bool = False
) -> float:
    """The largest difference on the three examples that were not traced; refuses large ones.

    With `truncated` each is tried at a truncation, too.
    """
    largest = 0.0
    options = [{}, {TRUNCATION: torch.tensor(0.7)}] if truncated else [{}]
    for inputs, option in product(traceable.examples[1:], options):
        wanted, found = traceable.net(*inputs, **option), run(*inputs, **option)
        if found.shape != wanted.shape:
            raise ConfigError(
                f"as {form} this network turns {list(inputs[0].shape)} into {list(found.shape)}, "
                f"not {list(wanted.shape)}; leave that form out of --forms"
            )
        largest = max(largest, float((found - wanted).abs().max()))
    if not largest <= TOLERANCE or math.isnan(largest):
        raise ConfigError(
            f"as {form} this network differs from the original by {largest:.2g}, more than "
            f"{TOLERANCE:g}; leave that form out of --forms"
        )
    return largest
