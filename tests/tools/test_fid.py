"""tools/fid.py and tools/weights.py as a person uses them, with a small feature network."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from largegan import checkpoint, train
from largegan.data import open_data
from largegan.evaluation import during_training, scores
from largegan.evaluation.image_sets import open_image_set
from largegan.metrics import classification, features, table, weights
from largegan.metrics.frechet import frechet_of_features
from largegan.metrics.side import Settings
from largegan.metrics.statistics import Statistics, read_statistics, write_statistics
from largegan.parallel.launch import World
from largegan.run import history
from tests.ending import code_of
from tests.evaluation.images import picture, save, tiny_extractor
from tests.forked import run_ranks
from tests.tools.test_sample import load_tool

ROOT = Path(__file__).parents[2]
fid = load_tool(ROOT / "tools" / "fid.py")
weights_tool = load_tool(ROOT / "tools" / "weights.py")
ALONE = World(0, 1, torch.device("cpu"))


@pytest.fixture(autouse=True)
def small_network(monkeypatch, tmp_path):
    """`--backbone tiny`, and a cache of this test's own."""
    real = features.open_extractor

    def opened(name="inception", **options):
        if name == "judge":
            return tiny_extractor(classifier=torch.nn.Linear(12, 5))
        return tiny_extractor() if name == "tiny" else real(name, **options)

    monkeypatch.setattr(features, "open_extractor", opened)
    monkeypatch.setenv("LARGEGAN_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def photos(tmp_path) -> Path:
    for i in range(24):
        save(tmp_path / "photos" / f"{i:02d}.png", picture(16, i))
    return tmp_path / "photos"


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    """A finished run of a class-conditional recipe."""
    folder = tmp_path_factory.mktemp("runs") / "sngan"
    options = {"name": "sngan", "g_channels": 4, "d_channels": 4, "d_steps": 1}
    words = [word for k, v in options.items() for word in (f"--recipe.{k}", str(v))]
    words += ["--run.dir", str(folder), "--data.workers", "0", "--train.sample_rows", "2"]
    words += ["--train.batch_size", "8", "--train.total_nimg", "8", "--train.cpu_threads", "1"]
    assert train.main(words) == 0
    return folder


@pytest.fixture
def tool(capsys):
    """tool(*words) -> (exit code, what it said), with the small network."""

    def call(*words: object) -> tuple[int, str]:
        code = code_of(fid.main, [*map(str, words), "--backbone", "tiny", "--cpu-threads", "1"])
        said = capsys.readouterr()
        return code, said.out + said.err

    return call


def direct(path: str) -> torch.Tensor:
    images = open_image_set(path)
    return tiny_extractor()(images.read(0, images.count))


def test_two_halves(tool, photos, tmp_path):
    even, odd = f"{photos}[::2]", f"{photos}[1::2]"
    code, said = tool(even, odd, "--json", tmp_path / "deep" / "a.json", "--batch", 5)
    assert code == 0, said
    answer = json.loads((tmp_path / "deep" / "a.json").read_text())
    found, protocol = answer["scores"], answer["protocol"]
    assert found["fid"] == pytest.approx(frechet_of_features(direct(even), direct(odd)), rel=1e-6)
    assert found["fid_error"] > 0 and "kid_error" in found and 0 <= found["coverage"] <= 1
    assert protocol["reference"]["part"] == "::2" and protocol["generated"]["count"] == 12
    assert (
        protocol["backbone"]["sha256"]
        and protocol["versions"]["torch"]
        and len(protocol["reference"]["identity"]) == 64
    )
    assert "FD-tiny" in said and "±" in said and "FID" not in said.replace("FD", "")
    assert "singular" in said, "12 images of 12 features"


def test_reference_is_computed_once(tool, photos, monkeypatch):
    seen = []
    original = scores.extract
    monkeypatch.setattr(
        scores,
        "extract",
        lambda i, *a, **k: (seen.append(i.about["path"]), original(i, *a, **k))[1],
    )
    first = tool(f"{photos}[:12]", f"{photos}[12:]")
    second = tool(f"{photos}[:12]", f"{photos}[12:]")
    assert first == second and len(seen) == 3, "two sets, then only the generated one"
    save(photos / "00.png", picture(16, 99))
    tool(f"{photos}[:12]", f"{photos}[12:]")
    assert len(seen) == 5, "other content, other statistics"
    tool(f"{photos}[:12]", f"{photos}[12:]", "--no-cache")
    assert len(seen) == 7


def test_statistics_files(tool, photos, tmp_path):
    whole = json.loads(json_of(tool, tmp_path, photos, f"{photos}[:12]", "--metrics", "fid"))
    for name in ("a.npz", "a.safetensors"):
        assert tool(photos, "--statistics", tmp_path / name)[0] == 0
        found = json.loads(json_of(tool, tmp_path, tmp_path / name, f"{photos}[:12]"))
        assert found["scores"] == whole["scores"], "and by default only what is possible"
        assert (
            found["protocol"]["reference"]["identity"]
            == (whole["protocol"]["reference"]["identity"])
        )
    content = np.load(tmp_path / "a.npz")
    np.savez(tmp_path / "foreign.npz", mu=content["mu"], sigma=content["sigma"])
    code, said = tool(tmp_path / "foreign.npz", tmp_path / "a.npz")
    assert code == 0 and "not stated in the file" in said
    code, said = tool(tmp_path / "a.npz", photos, "--metrics", "kid")
    assert code == 2 and "compares images one by one" in said


def json_of(tool, tmp_path, *words) -> str:
    code, said = tool(*words, "--json", tmp_path / "out.json")
    assert code == 0, said
    return (tmp_path / "out.json").read_text()


def test_statistics_of_another_network_are_refused(tool, photos, tmp_path):
    tool(photos, "--statistics", tmp_path / "a.npz")
    statistics = read_statistics(tmp_path / "a.npz")
    other = {**statistics.made, "backbone": {**statistics.made["backbone"], "name": "huge"}}
    write_statistics(tmp_path / "a.npz", Statistics(statistics.gaussian, other))
    code, said = tool(tmp_path / "a.npz", photos)
    assert code == 3 and "was made with name huge" in said
    np.savez(tmp_path / "small.npz", mu=np.zeros(3), sigma=np.eye(3))
    code, said = tool(tmp_path / "small.npz", photos)
    assert code == 3 and "3 features" in said


def test_comparison_and_its_refusal(tool, photos, tmp_path):
    json_of(tool, tmp_path, f"{photos}[:12]", f"{photos}[12:]")
    (tmp_path / "out.json").rename(tmp_path / "before.json")
    compare = ("--compare", tmp_path / "before.json")
    code, said = tool(f"{photos}[:12]", f"{photos}[::2]", *compare)
    assert code == 0 and "standard errors" in said and "before" in said
    code, said = tool(f"{photos}[:12]", f"{photos}[::2]", "--count", 10, *compare)
    assert code == 2 and "not measured alike (generated.count: 12 and 10)" in said
    (tmp_path / "before.json").write_text("{}")
    code, said = tool(f"{photos}[:12]", f"{photos}[::2]", *compare)
    assert code == 3 and "not what --json writes" in said


def test_checkpoint(tool, run_folder, tmp_path):
    words = ("bundled:noto32[:30]", run_folder, "--count", 27, "--metrics", "fid,prdc,ifid")
    answer = json.loads(json_of(tool, tmp_path, *words))
    about = answer["protocol"]["generated"]
    assert about["weights"] == "EMA" and about["count"] == 27 and about["seed"] == 0
    assert about["path"].endswith("000000008") and about["classes"] == list(range(9))
    assert any(name.startswith("ifid/") for name in answer["scores"])
    other = json.loads(json_of(tool, tmp_path, *words, "--truncation", 0.5, "--batch", 7))
    assert other["scores"]["fid"] != answer["scores"]["fid"]
    again = json.loads(json_of(tool, tmp_path, *words, "--batch", 7))
    assert again["scores"]["fid"] == pytest.approx(answer["scores"]["fid"], rel=1e-4)


def test_raw_weights_draw_other_images_and_say_so(tool, run_folder, photos, tmp_path):
    words = ("bundled:noto32[:30]", run_folder, "--count", 27, "--metrics", "fid")
    averaged = json.loads(json_of(tool, tmp_path, *words))
    raw = json.loads(json_of(tool, tmp_path, *words, "--raw"))
    assert raw["protocol"]["generated"]["weights"] == "raw"
    assert raw["scores"]["fid"] != averaged["scores"]["fid"]
    code, said = tool("bundled:noto32[:30]", photos, "--raw")
    assert code == 2 and "is not a checkpoint" in said


def test_classification_accuracy(tool, photos, run_folder, tmp_path, monkeypatch):
    seen = {}

    def learned(read_train, train_labels, read_test, test_labels):
        seen.update(train=read_train(torch.arange(20)), test=read_test(torch.arange(30)))
        seen.update(labels=(train_labels.tolist(), test_labels.tolist()))
        return 0.25

    monkeypatch.setattr(classification, "classification_accuracy", learned)
    words = ("bundled:noto32[:30]", run_folder, "--count", 20, "--metrics", "cas")
    assert json.loads(json_of(tool, tmp_path, *words))["scores"] == {"cas": 0.25}
    real = open_image_set("bundled:noto32[:30]", labels=True)
    assert torch.equal(seen["test"], torch.stack(real.read(0, 30)))
    assert seen["train"].shape == (20, 3, 32, 32), "learns from generated images"
    counts = np.array(open_data("bundled:noto32").info.label_counts)
    drawn = np.bincount(seen["labels"][0], minlength=9)
    assert np.abs(drawn - 20 * counts / counts.sum()).max() < 2, "classes as often as in the data"
    assert seen["labels"][1] == real.labels()
    code, said = tool(photos, photos, "--metrics", "cas")
    assert code == 2 and "images with classes" in said


def test_inception_score_where_there_are_logits(photos, capsys, tool):
    words = [str(photos), f"{photos}[:12]", "--metrics", "is", "--cpu-threads", "1"]
    assert fid.main([*words, "--backbone", "judge"]) == 0
    assert "IS-tiny" in capsys.readouterr().out
    code, said = tool(photos, photos, "--metrics", "is")
    assert code == 2 and "needs a network with a classifier" in said


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["photos"], 2, "give a second set"),
        (["photos", "photos", "--metrics", "fib"], 2, "no metric 'fib'"),
        (["photos", "photos", "--count", "0"], 2, "--count is 0"),
        (["photos", "none"], 2, "does not exist"),
        (["photos", "one"], 3, "holds one image"),
        (["one", "photos"], 3, "holds one image"),
        (["photos", "bad"], 3, "a.png in"),
        (["photos", "photos", "--truncation", "0.5"], 2, "is not a checkpoint"),
        (["photos", "photos", "--neighbors", "30"], 3, "30 neighbors"),
        (["photos", "--statistics", "a.txt"], 2, "must end in"),
        (["photos", "photos", "--device", "cuda:77"], 4, "cannot be used"),
        (["photos", "photos", "--json", "file/a.json"], 4, "cannot write"),
    ],
)
def test_refusals(tool, photos, tmp_path, monkeypatch, words, code, says):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "one" / "a.png", picture(8))
    save(tmp_path / "bad" / "b.png", picture(8))
    (tmp_path / "bad" / "a.png").write_bytes(b"\x89PNG nothing")
    (tmp_path / "file").write_text("")
    found, said = tool(*words)
    lines = [line for line in said.splitlines() if line.startswith("error: ")]
    assert found == code and len(lines) == 1 and says in lines[0]


def test_missing_weights_name_the_command(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(weights, "places", lambda *arguments: [])
    assert fid.main([str(photos), str(photos), "--cpu-threads", "1"]) == 4
    assert "largegan weights fetch inception" in capsys.readouterr().err


def test_weights_tool(tmp_path, capsys):
    assert weights_tool.main(["list"]) == 0
    assert "default_1.pt" in capsys.readouterr().out
    _, source = weights.require("efficientnet_lite0")
    fetch = ["fetch", "efficientnet_lite0", "--dir", str(tmp_path)]
    assert weights_tool.main([*fetch, "--source", str(source)]) == 0
    assert weights_tool.main(["verify", "efficientnet_lite0", "--dir", str(tmp_path)]) == 0
    assert "genuine" in capsys.readouterr().out
    (tmp_path / source.name).write_bytes(b"cut off")
    assert weights_tool.main(["verify", "--dir", str(tmp_path)]) == 3
    assert "7 bytes instead of" in capsys.readouterr().out
    assert weights_tool.main(["fetch", "nothing"]) == 2
    assert "choose one of inception" in capsys.readouterr().err


def test_two_processes_are_one(photos, run_folder, tmp_path):
    """The same samples bit for bit, the same scores to 1e-9; also what one of them cannot read."""
    torch.set_num_threads(1)  # as the worker: threads share a sum in another order
    worker = "tests/evaluation/two_processes.py"
    outputs = run_ranks([worker, str(photos), str(run_folder), str(tmp_path)], world=2)
    for name, path in (("files", str(photos)), ("drawn", str(run_folder))):
        images = open_image_set(path, count=21)
        side = scores.extract(images, tiny_extractor(), ALONE, batch=4, features=True, chunks=20)
        together = torch.load(tmp_path / f"{name}.pt", weights_only=True)
        assert torch.equal(side.features, together["features"])
        reference = scores.extract(
            open_image_set(str(photos)), tiny_extractor(), ALONE, features=True
        )
        alone = table.compute(reference, side, ["fid", "kid", "prdc"], Settings())
        assert alone == pytest.approx(together["scores"], rel=1e-9)
    for output in outputs:
        assert "DataError" in output and "17.png" in output, "both say what one met"


def test_launched_like_training(photos, tmp_path):
    """torchrun's variables are enough; rank 0 alone speaks. A small network that was staged."""
    model = timm.create_model("test_resnet")
    save_file(model.state_dict(), tmp_path / "test_resnet.safetensors")
    words = ["tools/fid.py", str(photos), f"{photos}[:20]", "--backbone", "test_resnet"]
    words += ["--weights-dir", str(tmp_path), "--cpu-threads", "1", "--metrics", "kid"]
    words += ["--batch", "4", "--json", str(tmp_path / "a.json"), "--no-cache"]
    outputs = run_ranks(words, world=2, timeout_s=600)
    assert "KD-test_resnet" in outputs[0] and "KD" not in outputs[1]
    assert json.loads((tmp_path / "a.json").read_text())["protocol"]["processes"] == 2


def test_help_is_quick():
    answer = subprocess.run(
        [sys.executable, ROOT / "tools" / "fid.py", "--help"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert answer.returncode == 0 and "photos[::2]" in answer.stdout


def test_scores_while_training(tmp_path, monkeypatch, capsys):
    """Lines, curve and best checkpoint; and the run's bytes are those of a run without."""
    monkeypatch.setattr(during_training, "open_extractor", lambda *a, **k: tiny_extractor())
    common = ["--recipe.name", "gan", "--recipe.width", "16", "--data.labels", "false"]
    common += ["--data.workers", "0", "--train.cpu_threads", "1", "--train.sample_rows", "2"]
    common += ["--train.batch_size", "8", "--train.total_nimg", "64", "--train.keep_last", "1"]
    common += ["--train.save_every_nimg", "16"]
    scored = ["--evaluate.every_nimg", "16", "--evaluate.count", "30", "--evaluate.batch", "8"]
    scored += ["--evaluate.metrics", "[fid,prdc]", "--evaluate.reference_count", "40"]
    plain, watched = tmp_path / "plain", tmp_path / "watched"
    assert train.main([*common, "--run.dir", str(plain)]) == 0
    capsys.readouterr()
    assert train.main([*common, *scored, "--run.dir", str(watched)]) == 0
    said = capsys.readouterr().out
    assert said.count("FD-tiny") == 4 and "±" in said
    for name in (checkpoint.MODEL, checkpoint.OPTIMIZER):
        a, b = (f / "checkpoints" / "000000064" / name for f in (plain, watched))
        assert a.read_bytes() == b.read_bytes(), "scoring disturbs nothing"
    lines = history.history(watched)
    assert [line["nimg"] for line in lines] == [16, 32, 48, 64]
    assert {"score/fid", "score/fid_error", "score/coverage"} <= set(lines[0])
    best = min(lines, key=lambda line: line["score/fid"])["nimg"]
    kept = sorted(int(p.name) for p in checkpoint.numbered(watched / "checkpoints"))
    assert kept == sorted({best, 64}), "the best and the last"
    assert (watched / "scores.png").stat().st_size > 1000
    assert json.loads((watched / "scores.json").read_text())["generated"]["count"] == 30


def test_two_processes_score_while_training_and_go_on_after_a_stop(tmp_path):
    """The scores of one process, each evaluation once, stopped and continued in between."""
    model = timm.create_model("test_resnet")
    save_file(model.state_dict(), tmp_path / "test_resnet.safetensors")
    common = ["--recipe.name", "gan", "--recipe.width", "16", "--data.labels", "false"]
    common += ["--data.workers", "0", "--train.cpu_threads", "1", "--train.sample_rows", "2"]
    common += ["--train.batch_size", "16", "--train.micro_batch_size", "8"]
    common += ["--recipe.lr", "0.01", "--recipe.ema_halflife_nimg", "8"]
    common += ["--evaluate.every_nimg", "16", "--evaluate.count", "30", "--evaluate.batch", "8"]
    common += ["--evaluate.backbone", "test_resnet", "--evaluate.weights_dir", str(tmp_path)]
    common += ["--evaluate.reference_count", "40", "--evaluate.error_bars", "false"]
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    whole = ["--train.total_nimg", "48", "--run.resume", "auto"]
    assert train.main([*common, *whole, "--run.dir", str(alone)]) == 0
    there = ["-m", "largegan.train", *common, "--run.dir", str(shared)]
    there += ["--parallel.processes", "2"]
    run_ranks([*there, "--train.total_nimg", "32"], world=2)
    run_ranks([*there, *whole], world=2)
    one, two = history.history(alone), history.history(shared)
    assert [line["nimg"] for line in one] == [line["nimg"] for line in two] == [16, 32, 48]
    for a, b in zip(one, two, strict=True):  # pixels may round otherwise: gradients are sums
        assert a["score/fid"] == pytest.approx(b["score/fid"], rel=1e-3)


def test_best_checkpoint_survives(tmp_path):
    """Made-up scores: the best one is in the middle, for scores that fall and that rise."""
    for nimg in (8, 16, 24, 32):
        content = checkpoint.Checkpoint({"a": torch.zeros(1)}, {"b": torch.zeros(1)}, {})
        checkpoint.save(tmp_path / "checkpoints", nimg, content)
    values = {8: (9.0, 0.1), 16: (3.0, 0.2), 24: (5.0, 0.9), 32: (4.0, 0.3)}
    lines = [{"nimg": n, "score/fid": f, "score/recall": r} for n, (f, r) in values.items()]
    text = "".join(json.dumps(line) + "\n" for line in [{"nimg": 4, "loss": 1}, *lines])
    (tmp_path / "metrics.jsonl").write_text(text)
    assert history.best(tmp_path, "fid")["nimg"] == 16
    assert history.best(tmp_path, "recall")["nimg"] == 24
    checkpoint.prune(tmp_path / "checkpoints", keep_last=1, keep_every_nimg=None, keep_nimg=16)
    kept = sorted(int(p.name) for p in checkpoint.numbered(tmp_path / "checkpoints"))
    assert kept == [16, 32]
    assert history.best(tmp_path, "recall")["nimg"] == 32, "of those still there"
    assert history.best(tmp_path, "kid") is None


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--evaluate.metrics [fib]", "there is no metric 'fib'"),
        ("--evaluate.best kid", "gives only fid"),
        ("--evaluate.count 0", "evaluate.count is 0"),
        ("--evaluate.reference nowhere", "nowhere does not exist"),
    ],
)
def test_evaluation_that_cannot_work_stops_before_training(tmp_path, capsys, words, says):
    common = ["--recipe.name", "gan", "--run.dir", str(tmp_path / "run"), "--data.workers", "0"]
    common += ["--data.labels", "false", "--train.cpu_threads", "1", "--train.sample_rows", "1"]
    assert train.main([*common, "--evaluate.every_nimg", "16", *words.split()]) == 2
    assert says in capsys.readouterr().err


def test_numbers_are_not_images(tmp_path, capsys):
    words = ["--recipe.name", "gaussian", "--data.path", "synthetic:gaussian"]
    words += ["--run.dir", str(tmp_path / "run"), "--evaluate.every_nimg", "16"]
    assert train.main([*words, "--train.cpu_threads", "1"]) == 2
    assert "draws no images" in capsys.readouterr().err
