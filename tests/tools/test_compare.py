"""tools/compare.py on folders whose scores are known."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.ending import code_of
from tests.tools.test_sample import load_tool

compare = load_tool(Path(__file__).parents[2] / "tools" / "compare.py")


@pytest.fixture
def folders(tmp_path) -> Path:
    """truth; near, 10 gray levels brighter; far, inverted."""
    for i in range(3):
        array = np.random.default_rng(i).integers(20, 230, (12 + i, 15, 3), np.uint8)
        for name, pixels in {"truth": array, "near": array + 10, "far": 255 - array}.items():
            (tmp_path / name / "below").mkdir(parents=True, exist_ok=True)
            ending = "bmp" if name == "truth" else "png"
            Image.fromarray(pixels).save(tmp_path / name / "below" / f"{i}.{ending}")
    return tmp_path


def call(capsys, *arguments) -> tuple[int, str]:
    code = code_of(compare.main, [str(a) for a in arguments])
    said = capsys.readouterr()
    return code, said.err + said.out


def test_scores(folders, capsys):
    near, truth, far = (folders / name for name in ("near", "truth", "far"))
    code, said = call(capsys, near, truth, "--inputs", far, "--json", folders / "scores.json")
    assert code == 0 and "outputs  3 pairs: psnr 28.13" in said
    found = json.loads((folders / "scores.json").read_text())
    assert found["outputs"]["mean"]["l1"]["mean"] == pytest.approx(10 / 255, abs=1e-6)
    assert found["outputs"]["mean"]["psnr"]["mean"] == pytest.approx(20 * np.log10(25.5), abs=1e-4)
    assert found["inputs"]["mean"]["ssim"]["mean"] < 0 < found["outputs"]["mean"]["ssim"]["mean"]
    assert sorted(found["outputs"]["images"]) == ["below/0", "below/1", "below/2"]


def test_equal_images_have_no_error_in_decibels(folders, capsys):
    code, said = call(capsys, folders / "truth", folders / "truth")
    assert code == 0 and "psnr inf dB" in said and "nan" not in said


def test_sheet(folders, capsys):
    """A row of cells an image: input, translation, truth, in this order."""
    near, truth, far = (folders / name for name in ("near", "truth", "far"))
    look = folders / "look.png"
    code, said = call(capsys, near, truth, "--inputs", far, "--sheet", look, "--sheet-count", 1)
    assert code == 0 and "look.png" in said
    with Image.open(look) as picture:
        pixels = np.asarray(picture, float)
    third = pixels.shape[1] // 3
    means = [pixels[40:, i * third : (i + 1) * third].mean() for i in range(3)]
    colors = [np.asarray(Image.open(f / "below" / n), float).mean() for f, n in
               ((far, "0.png"), (near, "0.png"), (truth, "0.bmp"))]  # fmt: skip
    assert np.argsort(means).tolist() == np.argsort(colors).tolist()
    assert call(capsys, near, truth, "--sheet", folders / "look.gif")[0] == 2
    assert call(capsys, near, truth, "--sheet", look, "--sheet-count", 0)[0] == 2


def test_what_does_not_match(folders, capsys):
    (folders / "near/below/1.png").unlink()
    code, said = call(capsys, folders / "near", folders / "truth")
    assert code == 3 and "near has no below/1 (1 image(s) without partner)" in said
    Image.new("RGB", (20, 20)).save(folders / "near/below/1.png")
    code, said = call(capsys, folders / "near", folders / "truth")
    assert code == 3 and "below/1: a translation has shape [3, 20, 20]" in said
    (folders / "near/below/1.png").write_bytes(b"nothing")
    code, said = call(capsys, folders / "near", folders / "truth")
    assert code == 3 and "below/1" in said and "not a readable image" in said


@pytest.fixture
def enlargements(tmp_path) -> Path:
    """truth 24x32, its halves in small, and halves doubled by Pillow in outputs."""
    for name in ("truth", "small", "outputs"):
        (tmp_path / name).mkdir()
    for i in range(2):
        low = np.random.default_rng(i).integers(0, 256, (6, 8, 3), np.uint8)
        truth = Image.fromarray(low).resize((32, 24), Image.Resampling.BICUBIC)
        small = truth.resize((16, 12), Image.Resampling.BICUBIC)
        truth.save(tmp_path / "truth" / f"{i}.png")
        small.save(tmp_path / "small" / f"{i}.png")
        small.resize((32, 24), Image.Resampling.NEAREST).save(tmp_path / "outputs" / f"{i}.png")
    return tmp_path


def luma_psnr(a: Path, b: Path, border: int) -> float:
    """As the field writes it: 8-bit Y from 16 to 235, borders cut, a peak of 255."""
    ys = []
    for path in (a, b):
        rgb = np.asarray(Image.open(path), np.float64) / 255
        y = 16 + rgb @ np.array([65.481, 128.553, 24.966])
        ys.append(y[border:-border, border:-border])
    return 10 * np.log10(255**2 / np.square(ys[0] - ys[1]).mean())


def test_super_resolution(enlargements, capsys):
    outputs, truth, small = (enlargements / name for name in ("outputs", "truth", "small"))
    scores = enlargements / "scores.json"
    code, said = call(capsys, outputs, truth, "--scale", 2, "--inputs", small, "--json", scores)
    assert code == 0 and "bicubic  2 pairs" in said
    found = json.loads(scores.read_text())
    for name, one in found["outputs"]["images"].items():
        wanted = luma_psnr(outputs / f"{name}.png", truth / f"{name}.png", 2)
        assert one["psnr"] == pytest.approx(wanted, abs=1e-3)
    assert found["bicubic"]["mean"]["psnr"]["mean"] > found["outputs"]["mean"]["psnr"]["mean"] + 3
    assert call(capsys, outputs, truth, "--scale", 0)[0] == 2
    code, said = call(capsys, outputs, truth, "--scale", 12)
    assert code == 3 and "nothing left when 12 pixels are cut" in said
    code, said = call(capsys, outputs, truth, "--scale", 4, "--inputs", small)
    assert code == 3 and "[3, 48, 64] (channels, height, width) and its truth [3, 24, 32]" in said


def test_reduce_makes_what_is_scored(enlargements, capsys):
    reduce = load_tool(Path(__file__).parents[2] / "tools" / "reduce.py")
    source = enlargements / "odd"
    source.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (25, 35, 3), np.uint8)
    Image.fromarray(pixels).save(source / "a.jpg")
    words = [str(source), str(enlargements / "low"), "--scale", "4"]
    words += ["--truths", str(enlargements / "cut")]
    assert reduce.main(words) == 0
    with (
        Image.open(enlargements / "low/a.png") as low,
        Image.open(enlargements / "cut/a.png") as cut,
    ):
        assert low.size == (8, 6) and cut.size == (32, 24)
        pillows = np.asarray(cut.resize((8, 6), Image.Resampling.BICUBIC), int)
        assert np.abs(np.asarray(low, int) - pillows)[2:-2, 2:-2].max() <= 1
    assert reduce.main(words) == 2 and "exists" in capsys.readouterr().err
    assert reduce.main([*words, "--overwrite"]) == 0
    assert code_of(reduce.main, [*words[:3], "1"]) == 2
    Image.new("RGB", (3, 3)).save(source / "b.png")
    assert reduce.main([*words, "--overwrite"]) == 3
    (source / "c.png").write_bytes(b"no image")
    assert reduce.main([*words, "--overwrite", "--on-error", "skip"]) == 0
    said = capsys.readouterr()
    assert "1 images, 4 times smaller, 2 skipped" in said.out and "skipped: c.png" in said.err
    (source / "a.jpg").unlink()
    assert reduce.main([*words, "--overwrite", "--on-error", "skip"]) == 3


def test_reduce_writes_over_nothing_that_a_list_names(enlargements, capsys):
    """Not even over what it made itself before."""
    reduce = load_tool(Path(__file__).parents[2] / "tools" / "reduce.py")
    (enlargements / "large").mkdir()
    Image.new("RGB", (16, 16)).save(enlargements / "large" / "a.png")
    small = enlargements / "small"
    assert reduce.main([str(enlargements / "large"), str(small), "--scale", "2"]) == 0
    (small / "list.txt").write_text("a.png\n")
    before = (small / "a.png").read_bytes()
    words = [str(small / "list.txt"), str(small), "--scale", "2", "--overwrite"]
    assert reduce.main(words) == 2 and "which is read" in capsys.readouterr().err
    assert (small / "a.png").read_bytes() == before
