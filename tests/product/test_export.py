"""Every recipe in every form: onnxruntime and torch.export give its images, at other batches.

Comparisons are with the recipe itself, at 1, 3 and 5 images, in every class and truncation.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from largegan import commands
from largegan.recipe import DataSpec, Recipe, TruncatesStyles
from largegan.restore import restore
from largegan.restore.exported import channels_of
from tests.product.runs import trained, write
from tests.recipes.common import IMAGES, NAMES, TWO_DOMAINS

BATCHES = (1, 3, 5)
TOLERANCE = 1e-4  # of images in [-1, 1]
QUICK = ("gan",)  # of the exporter's seconds the default run has few
RECIPES = [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in NAMES]
SMALL = {"z_dim": 4, "w_dim": 4, "channel_base": 64, "channel_max": 4}
S3 = SMALL | {"layers": 3, "margin": 2, "filter_size": 4, "d_channel_base": 64, "d_channel_max": 4}
BIG = {"z_dim": 6, "shared_dim": 3, "g_channels": 2, "d_channels": 2, "attention": 8}
TRANSLATOR = {"g_channels": 2, "d_channels": 2, "d_layers": 1}
VARIANTS: dict[str, tuple[str, DataSpec, dict]] = {
    "stylegan2 resnet": ("stylegan2", IMAGES, SMALL | {"g_architecture": "resnet"}),
    "stylegan2 orig": ("stylegan2", IMAGES, SMALL | {"g_architecture": "orig", "noise": False}),
    "stylegan2 oblong": ("stylegan2", DataSpec(1, 16, 8), SMALL | {"mapping_layers": 8}),
    "stylegan2 no clamp": ("stylegan2", DataSpec(4, 32, 32, 5), SMALL | {"conv_clamp": None}),
    "stylegan3 r": ("stylegan3", IMAGES, S3 | {"configuration": "r"}),
    "stylegan3 oblong": ("stylegan3", DataSpec(1, 16, 32), S3 | {"mapping_layers": 3}),
    "biggan flat": ("biggan", DataSpec(1, 32, 32, 2), BIG | {"hierarchical": False}),
    "biggan deep": ("biggan_deep", DataSpec(3, 32, 32, 2), BIG | {"z_dim": 3}),
    "cyclegan batch norm": ("cyclegan", TWO_DOMAINS, TRANSLATOR | {"depth": 1, "norm": "batch"}),
    "cyclegan gray": ("cyclegan", DataSpec(1, 32, 32, channels_b=1), TRANSLATOR | {"depth": 2}),
    "pix2pix deep": ("pix2pix", DataSpec(1, 32, 32, channels_b=3), TRANSLATOR | {"depth": 5}),
    "dcgan gray": ("dcgan", DataSpec(1, 32, 32), {"z_dim": 4, "channels": 4}),
    "r3gan without classes": (
        "r3gan", DataSpec(1, 32, 32),
        {"z_dim": 4, "channel_base": 64, "channel_max": 4, "group_width": 4, "blocks": 2},
    ),
    "projected_gan lite": (
        "projected_gan", DataSpec(3, 32, 32),
        {"z_dim": 4, "channels": 2, "backbone": "random:test_efficientnet", "backbone_size": 64,
         "features": 4, "judges": 2, "patch": True, "lite": True},
    ),
    "esrgan gray": (
        "esrgan", DataSpec(1, 16, 16),
        {"scale": 4, "channels": 4, "blocks": 2, "d_channels": 2, "content": "random:test_resnet"},
    ),
}  # fmt: skip


def inputs_of(recipe: Recipe, n: int) -> dict[str, Tensor]:
    """`n` latents and labels, or images of a size that nobody traced."""
    random = torch.Generator().manual_seed(100 + n)
    if recipe.directions:
        channels = channels_of(recipe.translator(recipe.directions[0]))
        return {"image": torch.rand(n, channels, 24 + n, 41, generator=random) * 2 - 1}
    found = {"z": recipe.latent(n, random)}
    if recipe.num_classes:
        found["label"] = torch.randint(recipe.num_classes, (n,), generator=random)
    return found


def wanted(recipe: Recipe, inputs: dict[str, Tensor], truncation: float | None = None) -> Tensor:
    if recipe.directions:
        return recipe.translate(inputs["image"])
    if truncation is not None:
        return recipe.decode_truncated(inputs["z"], inputs.get("label"), truncation)
    return recipe.decode(inputs["z"], inputs.get("label"))


def onnx_of(folder: Path) -> Callable[..., Tensor]:
    runtime = pytest.importorskip("onnxruntime", reason="the extra `export`")
    quiet = runtime.SessionOptions()
    quiet.log_severity_level = 3
    session = runtime.InferenceSession(str(folder / "model.onnx"), quiet)

    def run(**inputs: Tensor) -> Tensor:
        assert {i.name for i in session.get_inputs()} == set(inputs) - {"truncation"}
        arrays = {name: x.numpy() for name, x in inputs.items()}
        return torch.from_numpy(session.run(None, arrays)[0])

    return run


def pt2_of(folder: Path) -> Callable[..., Tensor]:
    program = torch.export.load(folder / "model.pt2")
    parts = [m for m in program.graph_module.modules() if hasattr(m, "graph")]
    called = {str(n.target) for m in parts for n in m.graph.nodes if n.op == "call_function"}
    strange = {name for name in called if not name.startswith(("aten.", "<built-in"))}
    assert called and not strange, "another program would need this package"
    module = program.module(check_guards=False)
    return lambda **inputs: module(*inputs.values())


def check(run: Path, out: Path, forms: str) -> None:
    """Exports a run, and compares what others load with the recipe itself."""
    assert commands.main(["export", str(run), str(out), "--forms", forms]) == 0
    recipe = restore(run).recipe
    largest, spread = 0.0, 0.0
    for form in forms.split(","):
        call = {"onnx": onnx_of, "pt2": pt2_of}[form](out)
        for n in BATCHES:
            inputs = inputs_of(recipe, n)
            want = wanted(recipe, inputs)
            found = [(call(**inputs), want)]
            if form == "onnx" and isinstance(recipe, TruncatesStyles):
                amount = {"truncation": torch.tensor(0.4)}
                found.append((call(**inputs, **amount), wanted(recipe, inputs, 0.4)))
                assert not torch.allclose(found[0][1], found[1][1], atol=1e-3)
            for made, one in found:
                assert made.shape == one.shape
                largest = max(largest, float((made - one).abs().max()))
            spread = float(want.std(0).mean()) if n > 1 else spread  # from image to image
    assert largest <= TOLERANCE and spread > 20 * TOLERANCE, (largest, spread)


@pytest.mark.parametrize("name", RECIPES)
def test_every_form_of_every_recipe(name, runs_of_recipes, tmp_path):
    check(trained(name, runs_of_recipes), tmp_path / "out", "onnx,pt2")


@pytest.mark.slow
@pytest.mark.parametrize("title", VARIANTS)
def test_other_options(title, tmp_path):
    name, spec, options = VARIANTS[title]
    check(write(tmp_path / "run", name, spec, options), tmp_path / "out", "onnx,pt2")


def test_a_graph_of_stylegan2(runs_of_recipes, tmp_path):
    check(trained("stylegan2", runs_of_recipes), tmp_path / "out", "pt2")
