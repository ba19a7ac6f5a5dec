"""Every importer: the peer's images and logits, from its formats."""

import os
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file

from largegan.errors import DataError
from largegan.interop import importing
from largegan.interop.peers import build
from largegan.recipe import DataSpec
from tests.golden import goldcheck
from tests.interop import fastgan, peers
from tests.interop.cases import cases, compare, golden, imported, write

REAL = Path(
    os.environ.get("LARGEGAN_PEERS", goldcheck.HERE.parents[2] / "shared" / "peer_checkpoints")
)


@pytest.mark.parametrize("name", cases("stylegan2-ada"))
def test_stylegan2_snapshots(name, tmp_path):
    case = golden(name)
    path = write(tmp_path / "network-snapshot-000012.pkl", peers.stylegan2(case), persistent=True)
    found = importing.find(path)
    assert found.recipe == "stylegan2" and found.nimg == 12_000
    assert found.options["ada_transforms"] == "bgc" and found.buffers["augment.p"] == 0.25
    recipe = imported(path)
    assert float(recipe.augment.p) == 0.25
    z, c = case.input("z"), case.input("c") if "in.c" in case.keys else None
    for net in (recipe.G, recipe.G_ema.net):
        compare(case, "w", net.mapping(z, c)[:, 0])
        compare(case, "img_psi07", net(z, c, truncation=0.7, noise="const"))
        image = net(z, c, noise="const")
        compare(case, "img_const", image)
        compare(case, "logits_fake", recipe.D(image, c))
    assert not case.failures, case.failures


@pytest.mark.parametrize("name", cases("stylegan3"))
def test_stylegan3_snapshots(name, tmp_path):
    case = golden(name)
    path = write(tmp_path / "network-snapshot-000025.pkl", peers.stylegan3(case), persistent=True)
    recipe = imported(path)
    z, c = case.input("z"), case.input("c") if "in.c" in case.keys else None
    for net in (recipe.G, recipe.G_ema.net):
        compare(case, "w", net.mapping(z, c)[:, 0])
        image = net(z, c)
        compare(case, "img", image)
        compare(case, "logits_fake", recipe.D(image, c))
    assert not case.failures, case.failures


@pytest.mark.parametrize("name", cases("r3gan"))
def test_r3gan_snapshots(name, tmp_path):
    case = golden(name)
    content = peers.r3gan(case)
    path = write(tmp_path / "x.pkl", content, persistent=False, module="R3GAN.Networks")
    found = importing.find(path)
    assert found.recipe == "r3gan" and found.nimg == 4096
    assert found.options["widths"] == case.meta["args"]["width"]
    recipe = imported(path)
    z, c = case.input("z"), case.input("c") if "in.c" in case.keys else None
    image = recipe.G_ema.net(z, c)
    compare(case, "img", image)
    compare(case, "logits_fake", recipe.D(image, c))
    assert not case.failures, case.failures
    state, remarks = importing.moments(found, recipe)
    assert not remarks
    assert len(state) == 3 * sum(1 for _ in [*recipe.G.parameters(), *recipe.D.parameters()])
    number = case.meta["names"]["G"].index("Model.AggregationLayer.Layer.weight")
    moment = state["G/G.to_image.weight/exp_avg"]
    torch.testing.assert_close(moment, torch.full_like(moment, 0.1 * (number + 1)))


@pytest.mark.parametrize(
    ("size", "classes", "lite"), [(128, 0, False), (256, 0, True), (256, 3, False), (128, 3, True)]
)
def test_projected_gan_snapshots(size, classes, lite, tmp_path):
    """Pickled with the hooks of torch's spectral norm, and with a judge's backbone of timm."""
    torch.manual_seed(0)
    source = fastgan.Generator(size, classes=classes, lite=lite)
    with torch.no_grad():
        source(torch.randn(4, 6), torch.arange(4) % 3)  # moves singular vectors and statistics
    judge = fastgan.ProjectedDiscriminator(timm.create_model("test_efficientnet"))
    path = tmp_path / "network-snapshot-000012.pkl"
    path.write_bytes(fastgan.pickled({"G": source, "D": judge, "G_ema": source.eval()}))
    found = importing.find(path)
    assert found.recipe == "projected_gan" and found.nimg == 12_000
    assert found.spec == DataSpec(3, size, size, classes)
    assert found.options["lite"] == lite and found.options["channels"] == 4
    recipe = imported(path)
    z, labels = torch.randn(3, 6), torch.arange(3)
    for net in (recipe.G, recipe.G_ema.net):
        torch.testing.assert_close(net.eval()(z, labels), source(z, labels), atol=1e-5, rtol=1e-5)


def test_projected_gan_that_is_none(tmp_path):
    args = {"G": {"ngf": 4, "cond": 1, "lite": True}, "z_dim": 6}
    for told, says in (({}, "has 0 classes"), ({"c_dim": 5000}, "has 5000 classes, of 1000 rows")):
        content, _ = peers.projected(args, 64, told)
        path = write(tmp_path / "x.pkl", content, persistent=False, module="pg_modules.networks")
        with pytest.raises(DataError, match=says):
            importing.find(path)


@pytest.mark.parametrize("config", [True, False], ids=["with config", "without"])
@pytest.mark.parametrize("name", cases("biggan"))
def test_biggan_folders(name, config, tmp_path):
    case = golden(name)
    source = peers.biggan(case, tmp_path / "weights", config=config)
    found = importing.find(source)
    assert found.nimg == (100 if config else 0)
    recipe = imported(source)
    z, y = case.input("z"), case.input("y")
    image = recipe.G_ema.net(z, y)
    compare(case, "img_eval", image)
    compare(case, "logits_eval_fake", recipe.D(image, y))
    assert not case.failures, case.failures


@pytest.mark.parametrize("name", cases("cyclegan-cut"))
def test_translators(name, tmp_path):
    case = golden(name)
    source = peers.translators(case, tmp_path / "checkpoints")
    recipe, a = imported(source), case.image("A_u8")
    if name.startswith("pix2pix"):
        compare(case, "fake_B_eval", recipe.translate(a))
    else:
        compare(case, "fake_B", recipe.translate(a, direction=recipe.directions[0]))
    if name.startswith("cyclegan"):
        compare(case, "pred_A", recipe.D_b(case.image("B_u8")))
    assert not case.failures, case.failures


@pytest.mark.parametrize("name", cases("studiogan"))
def test_studiogan_folders(name, tmp_path):
    case = golden(name)
    found = importing.find(peers.studiogan(case, tmp_path / "checkpoints"))
    recipe, _ = build(found)
    recipe.eval().requires_grad_(False)
    z, y = case.input("z"), case.input("y")
    image = recipe.G_ema.net(z, y)
    compare(case, "img_eval", image)
    if "D" in found.nets:
        compare(case, "logits_eval_fake", recipe.D(image, y))
    assert ("D" not in found.nets) == name.startswith(("dcgan", "wgangp"))
    assert not case.failures, case.failures


HF = {  # widths from 4 x 4 on, and the place of self-attention among the layers
    128: ((16, 16, 8, 4, 2, 1), 8),
    256: ((16, 16, 8, 8, 4, 2, 1), 8),
    512: ((16, 16, 8, 8, 4, 2, 1, 1), 8),
}


@pytest.mark.parametrize(
    "side", [128, *(pytest.param(n, marks=pytest.mark.slow) for n in (256, 512))]
)
def test_biggan_deep_of_the_port(side, tmp_path):
    net = peers.hf_folder(tmp_path / "biggan-deep", *HF[side])
    assert importing.find(tmp_path / "biggan-deep").spec == DataSpec(3, side, side, 7)
    recipe = imported(tmp_path / "biggan-deep")
    z, y = torch.randn(3, 10), torch.tensor([0, 3, 6])
    with torch.no_grad():
        torch.testing.assert_close(
            recipe.G_ema.net(z, y), net(z, torch.eye(7)[y]), rtol=0, atol=1e-5
        )
    (tmp_path / "biggan-deep" / "config.json").write_text("{}")
    with pytest.raises(DataError, match=r"config\.json"):
        imported(tmp_path / "biggan-deep")


SOURCES = sorted(
    path
    for pattern in ("*.pkl", "*/*_tiny*", "*/tiny_*")
    for path in (REAL.glob(pattern) if REAL.exists() else ())
)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_published_checkpoints(source):
    """Where a collection of them lies beside the repository."""
    beside = source.with_suffix(".expected.safetensors"), source / "expected.safetensors"
    expected = load_file(next(p for p in (*beside, source.parent / beside[1].name) if p.exists()))
    recipe = imported(source)
    for name, got in outputs(recipe, expected).items():
        want = expected[name].float()
        error = (got.reshape(want.shape) - want).abs().max() / want.abs().max()
        assert error < 1e-5, f"{name}: {error:.2g} of its range"


def outputs(recipe, given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What a collection keeps, by its names."""
    if "image" in given:
        x, both = given["image"].float(), len(recipe.directions) > 1
        found = {"G": recipe.translate(x), "G_eval": recipe.translate(x)}
        if both:
            found |= {"G_A": recipe.translate(x), "D_A": recipe.D_b(x), "D_B": recipe.D_a(x)}
            found["G_B"] = recipe.translate(x, direction="b_to_a")
        return {name: found[name] for name in given if name in found}
    labels = given["y"] if "y" in given else given.get("c")
    labels = labels if labels is not None and labels.numel() else None
    quiet = {"noise": "const"} if type(recipe).__name__ == "StyleGAN2" else {}
    return {
        "img_ema": recipe.G_ema.net(given["z"], labels, **quiet),
        "img_G": recipe.G(given["z"], labels, **quiet),
        "logits": recipe.D(given["img_ema"], labels),
    }
