"""Every importer: the peer's images and logits, from its formats; runs that sample and train on."""

import os
import random
import shutil
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file

from largegan import checkpoint, train
from largegan.data.pack import pack
from largegan.data.prepare import Preparation
from largegan.data.writing import Layout
from largegan.errors import DataError, UserError
from largegan.interop import importing
from largegan.interop.peers import build
from largegan.recipe import DataSpec
from largegan.restore import restore
from tests.data.conftest import save_pictures
from tests.golden import goldcheck
from tests.golden.goldcheck import Case
from tests.golden.test_golden import SLACK
from tests.interop import fastgan, hostile, peers
from tests.tools.test_sample import load_tool

DATA = goldcheck.HERE / "data"
CASES = goldcheck.manifest(DATA)
REAL = Path(
    os.environ.get("LARGEGAN_PEERS", goldcheck.HERE.parents[2] / "shared" / "peer_checkpoints")
)
tool = load_tool(Path(__file__).parents[2] / "tools" / "import_checkpoint.py")


def cases(group: str, *words: str) -> list[str]:
    """Cases of a group that store their weights."""
    return [
        name
        for name, meta in CASES.items()
        if meta["group"] == group
        and "metric" not in (meta["args"] or {})
        and all(word in name for word in words)
    ]


def imported(source: Path):
    recipe, _ = build(importing.find(source))
    return recipe.eval().requires_grad_(False)


def golden(name: str) -> Case:
    return Case(DATA, name, slack=SLACK)


def compare(case: Case, name: str, images: torch.Tensor) -> None:
    """With an output that may hold fewer images, or every second pixel."""
    found = name if name in case.outputs() else f"{name}_s2"
    images = images if found == name else images[..., ::2, ::2]
    case.check(found, images[: len(case.expected(found))])


def write(path: Path, content: dict, **how) -> Path:
    path.write_bytes(peers.pickled(content, **how))
    return path


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


# Runs.


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory) -> Path:
    case = golden("sg2ada_r32_uncond_resnet")
    path = tmp_path_factory.mktemp("sg2") / "network-snapshot-000012.pkl"
    return write(path, peers.stylegan2(case), persistent=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    case = golden("biggan_r32_shared_hier")
    return peers.biggan(case, tmp_path_factory.mktemp("big") / "weights", config=True)


def call(capsys, *words) -> tuple[int, str]:
    code = tool.main([str(word) for word in words])
    said = capsys.readouterr()
    return code, said.out + said.err


def training(run: Path, *more: str) -> list[str]:
    words = ["--config", str(run / "config.yaml"), "--train.batch_size", "4"]
    return [*words, "--train.cpu_threads", "1", "--data.workers", "0", *map(str, more)]


def test_listing_writes_nothing(snapshot, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, said = call(capsys, snapshot, "--list")
    assert code == 0 and "recipe stylegan2, images 3x32x32" in said
    assert "12,000 images seen" in said and not list(tmp_path.iterdir())


def test_a_run_is_restored_fine_tuned_and_resumed(snapshot, tmp_path, capsys):
    run, tuned = tmp_path / "run", tmp_path / "tuned"
    code, said = call(capsys, snapshot, run)
    assert code == 0 and "checkpoints/000012000" in said
    found = restore(run)
    assert found.name == "stylegan2" and "StyleGAN2" in found.state["imported"]["title"]
    start = training(run, "--run.dir", tuned, "--run.init_from", run, "--train.total_nimg", 8)
    train.main(start)
    assert restore(tuned).state["nimg"] == 8
    again = training(run, "--run.dir", tuned, "--run.resume", "must", "--train.total_nimg", 12)
    train.main(again)
    assert restore(tuned).state["nimg"] == 12


def test_training_goes_on_with_the_optimizers_of_the_source(folder, tmp_path, capsys):
    run = tmp_path / "run"
    assert call(capsys, folder, run)[0] == 0
    before = checkpoint.load(checkpoint.resolve(run))
    steps = [v for k, v in before.optimizer.items() if k.endswith("/step")]
    names = {k.rsplit("/", 1)[0] for k in before.optimizer}
    parameters = sum(1 for _ in restore(run).recipe.G.parameters()) + sum(
        1 for _ in restore(run).recipe.D.parameters()
    )
    assert len(names) == parameters and all(float(step) == 1 for step in steps)
    moments = before.optimizer["G/G.project.weight/exp_avg"]
    assert moments.unique().numel() == 1 and float(moments.flatten()[0]) > 0
    pictures = save_pictures(tmp_path / "pictures", 12, classes=6, size=32)
    pack(
        pictures,
        tmp_path / "shards",
        preparation=Preparation(format="png"),
        layout=Layout(shard_count=1),
    )
    more = ["--run.dir", run, "--run.resume", "must", "--train.total_nimg", 104]
    train.main(training(run, *more, "--data.path", tmp_path / "shards"))
    after = checkpoint.load(checkpoint.resolve(run))
    assert after.state["nimg"] == 104 and after.state["data"]["identity"]
    assert float(after.optimizer["G/G.project.weight/step"]) == 2
    assert not torch.equal(after.model["G.project.weight"], before.model["G.project.weight"])


def unknown(module: str) -> bytes:
    """A pickled network with an encoder's tensors only."""
    net = peers.tree({"encoder.weight": torch.zeros(3)}, peers.Module, {})
    content = (net, net, net) if "tflib" in module else {"G_ema": net}
    return peers.pickled(content, persistent=False, module=module)


BAD = {
    "a text": (b"not a checkpoint", "neither a pickle nor an archive"),
    "a system call": (hostile.pickles()["os.system 4"], "nothing of it was executed"),
    "a number": (b"\x80\x04K\x01.", "none of what can be imported"),
    "an encoder": (None, "holds 1 entries such as encoder.weight"),
    "an encoder as a network": (unknown("training.networks"), "of the class training.networks.Gen"),
    "a network of another code": (unknown("mycode.nets"), "calls 'mycode.nets.Generator'"),
    "StyleGAN's TensorFlow": (unknown("dnnlib.tflib.network"), "convert it with legacy.py"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_imported_gets_a_sentence(kind, tmp_path, capsys):
    content, sentence = BAD[kind]
    path = tmp_path / "source.pkl"
    if content is None:
        torch.save({"encoder.weight": torch.zeros(3)}, path)
    else:
        path.write_bytes(content)
    code, said = call(capsys, path, tmp_path / "run")
    assert code == 3 and sentence in said and said.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_folder_without_a_generator(tmp_path, capsys):
    torch.save({"model.0.weight": torch.zeros(4, 3, 4, 4)}, tmp_path / "latest_net_D.pth")
    code, said = call(capsys, tmp_path, tmp_path / "run")
    assert code == 3 and "holds no generator" in said


def test_what_is_there_is_not_written_over(snapshot, tmp_path, capsys):
    (tmp_path / "mine").write_text("precious")
    code, said = call(capsys, snapshot, tmp_path)
    assert code == 2 and "--overwrite" in said


def test_a_tensor_too_few_or_too_many_is_named(tmp_path):
    case = golden("sg2ada_r32_uncond_resnet")
    content = peers.stylegan2(case)
    block = content["G"]._modules["synthesis"]._modules["b8"]
    block._parameters["surplus"] = torch.nn.Parameter(torch.zeros(1))
    with pytest.raises(DataError, match="surplus"):
        imported(write(tmp_path / "a.pkl", content, persistent=True))
    del block._parameters["surplus"]
    del block._modules["conv0"]._parameters["weight"]
    with pytest.raises(DataError, match=r"synthesis\.b8\.conv0\.weight is missing"):
        imported(write(tmp_path / "b.pkl", content, persistent=True))


def test_an_option_that_is_not_built_is_named(tmp_path):
    content = peers.stylegan2(golden("sg2ada_r32_uncond_resnet"))
    content["G_ema"].__dict__["_init_kwargs"]["synthesis_kwargs"]["resample_filter"] = [1, 2, 1]
    with pytest.raises(DataError, match="resample_filter"):
        imported(write(tmp_path / "a.pkl", content, persistent=True))


HUGE = {
    "img_resolution": 1 << 30,
    "img_channels": 1 << 40,
    "c_dim": 1 << 23,
    "z_dim": 1 << 23,
    "w_dim": 1 << 23,
}


@pytest.mark.parametrize("name", HUGE)
def test_sizes_that_the_file_does_not_have_are_not_allocated(name, tmp_path):
    content = peers.stylegan2(golden("sg2ada_r32_uncond_resnet"))
    for net in ("G", "D"):
        if name in content[net]._init_kwargs:
            content[net]._init_kwargs[name] = HUGE[name]
    with pytest.raises(DataError):
        imported(write(tmp_path / "a.pkl", content, persistent=True))


def test_a_million_layers_are_not_built(tmp_path):
    content = peers.stylegan2(golden("sg2ada_r32_uncond_resnet"))
    content["G"]._modules["mapping"].num_layers = 1_000_000
    with pytest.raises(DataError, match="mapping_layers is 1000000"):
        imported(write(tmp_path / "a.pkl", content, persistent=True))


@pytest.mark.parametrize("count", [60, pytest.param(2_000, marks=pytest.mark.slow)])
def test_damaged_snapshots_and_folders_give_a_run_or_a_sentence(count, snapshot, folder, tmp_path):
    random_, path = random.Random(1), tmp_path / "changed.pkl"
    for i in range(count):
        source = path
        if i % 2:
            path.write_bytes(hostile.mutate(snapshot.read_bytes(), random_))
        else:
            source = tmp_path / f"folder{i}"
            shutil.copytree(folder, source)
            victim = random_.choice(sorted(source.iterdir()))
            victim.write_bytes(hostile.mutate(victim.read_bytes(), random_))
        try:
            build(importing.find(source))
        except UserError as fault:
            assert "\n" not in str(fault)
