"""tools/export.py: what it writes is loaded again by others and gives the same numbers."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from largegan.errors import ConfigError, DataError
from largegan.interop import graphs
from largegan.layers.plain_norm import use_own_statistics
from largegan.layers.resample import pad_to_multiple
from largegan.nets.unet_translation import UNetGenerator
from largegan.restore.exported import load_exported
from largegan.translation.translator import open_translator
from tests.recipes.common import IMAGES
from tests.recipes.common import TINY as TINY_RECIPES
from tests.tools.test_sample import load_tool
from tests.tools.test_translate import TINY
from tests.translation import checkpoints

TOOL = Path(__file__).parents[2] / "tools" / "export.py"
export = load_tool(TOOL)
FILES = ["README.md", "config.json", "model.safetensors"]


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Path:
    return checkpoints.write(tmp_path_factory.mktemp("run"), "cyclegan", **TINY)


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.slow  # the exporter and onnxruntime take half a minute
def test_every_form(run, tmp_path, capsys):
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `export`")
    out = tmp_path / "out"
    assert export.main([str(run), str(out), "--direction", "b_to_a"]) == 0
    said = capsys.readouterr().out
    assert f"{out}/model.safetensors: the same numbers as the original" in said
    assert "model.onnx: " in said and "model.pt2: " in said
    assert listing(out) == sorted([*FILES, "model.onnx", "model.pt2"])
    net = open_translator(run, "cpu", direction="b_to_a").net
    loaded = load_exported(out)
    assert loaded.kind == "translator" and loaded.direction == "b_to_a"
    program = torch.export.load(out / "model.pt2").module(check_guards=False)
    session = onnxruntime.InferenceSession(str(out / "model.onnx"))
    for shape in ((1, 3, 8, 8), (4, 3, 51, 96), (1, 3, 77, 10)):  # none of those compared
        x = torch.rand(shape) * 2 - 1
        wanted = net(x)
        assert torch.equal(loaded.net(x), wanted)
        torch.testing.assert_close(program(x), wanted, atol=1e-5, rtol=0)
        (found,) = session.run(None, {"image": x.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), wanted, atol=1e-4, rtol=0)


@pytest.mark.slow  # as above
def test_u_net_as_a_graph(tmp_path):
    """Batch norm by the image's own statistics; and images of one cell, as pix2pix has them."""
    net = UNetGenerator(channels=2, levels=5)
    net = use_own_statistics(net).eval().requires_grad_(False)
    traceable = graphs.traceable_translator(net, 3)
    assert traceable.examples[1][0].shape[2:] == (32, 32)
    assert graphs.write_pt2(traceable, tmp_path / "model.pt2") < 1e-5


def test_padding_in_the_graph_is_that_of_the_network():
    for size, multiple in ((1, 4), (2, 4), (3, 32), (5, 4), (8, 4), (33, 32)):
        index = graphs.mirrored(size, multiple, torch.device("cpu"))
        x = torch.arange(float(size))[None, None, None]
        wanted = pad_to_multiple(x, multiple)[0, 0, 0]
        assert torch.equal(x[0, 0, 0, index], wanted)


def test_generator(tmp_path):
    spec = checkpoints.DataSpec(3, 32, 32, 4)
    options = {"g_channels": 2, "d_channels": 2, "z_dim": 8}
    run = checkpoints.write(tmp_path / "run", "sngan", spec, **options)
    assert export.main([str(run), str(tmp_path / "out"), "--forms", "safetensors,pt2"]) == 0
    loaded = load_exported(tmp_path / "out")
    assert loaded.kind == "generator" and loaded.direction is None
    inputs = (torch.randn(5, 8), torch.arange(5) % 4)
    program = torch.export.load(tmp_path / "out/model.pt2").module(check_guards=False)
    torch.testing.assert_close(program(*inputs), loaded.net(*inputs), atol=1e-5, rtol=0)


def test_only_one_network_of_the_run_is_written(run, tmp_path):
    export.main([str(run), str(tmp_path / "out"), "--forms", "safetensors"])
    names = load_file(tmp_path / "out/model.safetensors")
    assert set(names) == set(open_translator(run, "cpu").net.state_dict())


def test_damage_is_found(run, tmp_path):
    out = tmp_path / "out"
    export.main([str(run), str(out), "--forms", "safetensors"])
    weights = load_file(out / "model.safetensors")
    save_file({name: t + 1 for name, t in weights.items()}, out / "model.safetensors")
    with pytest.raises(DataError, match="not the one that was exported"):
        load_exported(out)
    with pytest.raises(ConfigError, match="no exported network"):
        load_exported(run)
    config = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(
        json.dumps({**config, "format": "largegan network, version 9"})
    )
    with pytest.raises(ConfigError, match=r"version 9, and this largegan reads"):
        load_exported(out)


def test_a_graph_that_differs_leaves_nothing(run, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    export.main([str(run), str(out), "--forms", "safetensors"])
    before = (out / "config.json").read_bytes()
    capsys.readouterr()

    def wrong(traceable, path):
        path.write_bytes(b"graph")
        return graphs.compare(traceable, lambda x: traceable.net(x) + 0.01, "torch.export")

    monkeypatch.setattr(graphs, "write_pt2", wrong)
    code = export.main([str(run), str(tmp_path / "new"), "--forms", "pt2"])
    said = capsys.readouterr().err
    assert code == 2 and "differs from the original by 0.01" in said and said.count("\n") == 1
    assert export.main([str(run), str(out), "--forms", "pt2", "--overwrite"]) == 2
    assert listing(tmp_path) == ["out"] and listing(out) == FILES
    assert (out / "config.json").read_bytes() == before, "the earlier export is untouched"


def test_an_export_is_replaced_only_when_told(run, tmp_path, capsys):
    out = tmp_path / "out"
    assert export.main([str(run), str(out), "--forms", "safetensors"]) == 0
    (out / "model.pt2").write_bytes(b"graph")
    assert export.main([str(run), str(out), "--forms", "safetensors"]) == 2
    assert "exists; choose another OUT" in capsys.readouterr().err
    assert export.main([str(run), str(out), "--forms", "safetensors", "--overwrite"]) == 0
    assert listing(out) == FILES, "no graph of another network stays behind"


def test_network_that_does_not_trace(tmp_path):
    class Odd(torch.nn.Module):
        def forward(self, z):
            return z * 2 if z.sum() > 0 else z

    z = torch.ones(2, 3)
    traceable = graphs.Traceable(Odd(), ("z",), "image", ((0,),), ((z,),) * 4)
    with pytest.raises(ConfigError, match=r"cannot be written as torch\.export"):
        graphs.write_pt2(traceable, tmp_path / "a.pt2")


NEW = ["lapgan", "gmmn", "gmmn_codes", "ali", "bigan", "srresnet", "srgan", "esrgan"]


@pytest.mark.slow  # every recipe in every form: tests/product
@pytest.mark.parametrize("name", NEW)
def test_what_draws_or_translates_is_exported_alone(name, tmp_path, capsys):
    """The same numbers from the folder, as weights and as a graph; nothing else of the run."""
    options = TINY_RECIPES[name]
    run = checkpoints.write(tmp_path / "run", name, IMAGES, **options)
    assert export.main([str(run), str(tmp_path / "out"), "--forms", "safetensors,pt2"]) == 0
    said = capsys.readouterr().out
    assert "model.safetensors: the same numbers as the original" in said and "model.pt2: " in said
    saved = load_file(tmp_path / "out" / "model.safetensors")
    assert not [key for key in saved if "D" in key.split(".") or "E_ema" in key]
    loaded = load_exported(tmp_path / "out")
    if loaded.kind == "translator":
        scale = options["scale"]
        assert loaded.net(torch.zeros(2, 3, 9, 11)).shape == (2, 3, 9 * scale, 11 * scale)
