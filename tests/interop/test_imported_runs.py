"""Imported runs sample, are fine-tuned and train on; what cannot be imported is a sentence."""

import random
import shutil
from pathlib import Path

import pytest
import torch

from largegan import checkpoint, train
from largegan.data.pack import pack
from largegan.data.prepare import Preparation
from largegan.data.writing import Layout
from largegan.errors import DataError, UserError
from largegan.interop import importing
from largegan.interop.peers import build
from largegan.restore import restore
from tests.data.conftest import save_pictures
from tests.interop import hostile, peers
from tests.interop.cases import golden, imported, write
from tests.tools.test_sample import load_tool

tool = load_tool(Path(__file__).parents[2] / "tools" / "import_checkpoint.py")


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
