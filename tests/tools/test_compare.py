"""tools/compare.py on folders whose scores are known."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tools.test_sample import load_tool

compare = load_tool(Path(__file__).parents[2] / "tools" / "compare.py")


@pytest.fixture
def folders(tmp_path) -> Path:
    """truth; near, 10 grey levels brighter; far, inverted."""
    for i in range(3):
        array = np.random.default_rng(i).integers(20, 230, (12 + i, 15, 3), np.uint8)
        for name, pixels in {"truth": array, "near": array + 10, "far": 255 - array}.items():
            (tmp_path / name / "below").mkdir(parents=True, exist_ok=True)
            ending = "bmp" if name == "truth" else "png"
            Image.fromarray(pixels).save(tmp_path / name / "below" / f"{i}.{ending}")
    return tmp_path


def call(capsys, *arguments) -> tuple[int, str]:
    code = compare.main([str(a) for a in arguments])
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
    colours = [np.asarray(Image.open(f / "below" / n), float).mean() for f, n in
               ((far, "0.png"), (near, "0.png"), (truth, "0.bmp"))]  # fmt: skip
    assert np.argsort(means).tolist() == np.argsort(colours).tolist()
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
