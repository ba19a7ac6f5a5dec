"""What is said while features are computed, where there is no terminal."""

from types import SimpleNamespace

import pytest
import torch

from largegan.evaluation.progress import Lines, cost, duration, progress_bar
from largegan.parallel.launch import World

CPU = torch.device("cpu")


def test_a_log_hears_after_the_first_part_and_every_minute(capsys):
    time = SimpleNamespace(now=0.0)
    lines = Lines("reference", 50_000, now=lambda: time.now)
    for now, images in ((10, 100), (20, 100), (69, 100), (70, 400)):
        time.now = now
        lines.update(images)
    assert capsys.readouterr().err.splitlines() == [
        "reference: 100 of 50000 images, about 83.2 min left",
        "reference: 700 of 50000 images, about 82.2 min left",
    ]


def test_what_is_over_at_once_says_nothing(capsys):
    assert list(progress_bar("generated", World(0, 1, CPU))([(0, 5), (5, 9)], 9)) == [
        (0, 5),
        (5, 9),
    ]
    assert capsys.readouterr().err == ""


def test_the_cost_is_said_before_and_by_one_process(capsys):
    next(iter(progress_bar("generated", World(0, 2, CPU))([(0, 64)], 50_000)))
    assert capsys.readouterr().err.splitlines() == [cost("generated", 50_000)]
    assert cost("generated", 50_000).endswith("83.3 min to 4.2 h of one processor core")
    next(iter(progress_bar("generated", World(1, 2, CPU))([(0, 64)], 50_000)))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (89, "89 s"), (90, "1.5 min"), (5400, "1.5 h")]
)
def test_durations(seconds, said):
    assert duration(seconds) == said
