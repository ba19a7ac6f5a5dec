"""A score that was killed goes on where it was, with the bits of one that was not."""

import pytest
import torch

from largegan.commands import cache
from largegan.evaluation import scores
from largegan.evaluation.image_sets import open_image_set
from largegan.evaluation.unfinished import Unfinished
from largegan.parallel.launch import World
from tests.evaluation.images import picture, save, tiny_extractor

ALONE = World(0, 1, torch.device("cpu"))


class Killed(BaseException):
    """As a signal would end it: nothing that is caught on the way."""


def reference(photos, cache, *, killed_after: float = float("inf")):
    """The side of a set, and how many images the network saw."""
    extractor, seen = tiny_extractor(), []
    network = extractor.network

    def look(x):
        if len(seen) >= killed_after:
            raise Killed
        seen.append(len(x))
        return network(x)

    extractor.network = look
    images = open_image_set(str(photos))
    side = scores.reference_side(images, extractor, ALONE, cache=cache, features=True, batch=4)
    return side, sum(seen)


@pytest.fixture
def photos(tmp_path):
    for i in range(22):
        save(tmp_path / "photos" / f"{i:02d}.png", picture(16, i))
    return tmp_path / "photos"


def test_finished_batches_are_not_computed_again(photos, tmp_path):
    whole, all_of_them = reference(photos, tmp_path / "a")
    with pytest.raises(Killed):
        reference(photos, tmp_path / "b", killed_after=3)
    again, seen = reference(photos, tmp_path / "b")
    assert (all_of_them, seen) == (22, 10)
    assert torch.equal(again.features, whole.features)
    assert torch.equal(again.gaussian.covariance, whole.gaussian.covariance)
    assert [path.suffix for path in (tmp_path / "b").iterdir()] == [".safetensors"], "none is left"
    assert reference(photos, tmp_path / "b")[1] == 0


def test_what_a_killed_score_left_is_listed_and_cleared(photos, tmp_path, capsys):
    with pytest.raises(Killed):
        reference(photos, tmp_path / "cache" / "statistics", killed_after=3)
    words = ["--dir", str(tmp_path / "cache")]
    assert cache.main(words) == 0
    said = capsys.readouterr().out
    assert ".unfinished" in said and "12 images, used 0 days ago, of a score that is not" in said
    assert cache.main([*words, "--clear"]) == 0 and "1 copies kept" in capsys.readouterr().out
    assert cache.main([*words, "--clear", "--unused-days", "0"]) == 0
    assert not list((tmp_path / "cache" / "statistics").iterdir())


@pytest.mark.parametrize("spoil", ["cut", "other", "nan"])
def test_a_damaged_batch_is_computed_again(photos, tmp_path, spoil):
    whole, _ = reference(photos, tmp_path / "a")
    with pytest.raises(Killed):
        reference(photos, tmp_path / "b", killed_after=3)
    folder = next((tmp_path / "b").glob("*.unfinished"))
    files = sorted(folder.iterdir())
    assert len(files) == 3
    if spoil == "cut":
        files[1].write_bytes(files[1].read_bytes()[:50])
    elif spoil == "other":
        Unfinished(folder, 5).keep(4, torch.zeros(4, 5))
    else:
        Unfinished(folder, 12).keep(4, torch.full((4, 12), float("nan")))
    again, seen = reference(photos, tmp_path / "b")
    assert seen == 22 - 8 and torch.equal(again.features, whole.features)


def test_one_that_is_taken_away_meanwhile_is_computed(photos, tmp_path):
    """By another score of the same set that has just ended."""
    with pytest.raises(Killed):
        reference(photos, tmp_path, killed_after=3)
    left = Unfinished(next(tmp_path.glob("*.unfinished")), 12)
    spans = [(0, 4), (4, 8), (8, 12), (12, 16)]
    images, extractor = open_image_set(str(photos)), tiny_extractor()
    found = scores.features_of(images, extractor, spans, None, left)
    first = next(found)
    left.remove()
    rest = [first, *found]
    plain = scores.features_of(images, extractor, spans, None, None)
    for (span, features), (same, wanted) in zip(rest, plain, strict=True):
        assert span == same and torch.equal(features, wanted)
