"""Constants that are copied to a GPU once; there is none here, so a word stands in for it."""

import pytest
import torch

from largegan.ops import constants
from largegan.ops.constants import constant, kept_on_gpu

GPU = torch.device("cuda")


@pytest.fixture
def capturing(monkeypatch):
    """Whether a CUDA graph is being captured: no, until somebody says so."""
    answer = [False]
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: answer[0])
    return answer


def made(calls):
    @kept_on_gpu
    def make(values, *, device, dtype):
        calls.append(values)
        return torch.tensor(values)

    return make


def test_a_gpu_gets_each_of_them_once_and_a_cpu_as_often_as_it_asks(capturing):
    calls = []
    make = made(calls)
    assert make((1.0, 2.0), device=GPU) is make((1.0, 2.0), device=GPU)
    assert make((1.0, 2.0), device=torch.device("cpu")).tolist() == [1, 2]
    assert len(calls) == 2
    assert constant(((1.0, 2), (3, 4)), device=torch.device("cpu")).shape == (2, 2)


def test_what_a_recording_reads_outlives_the_cache(capturing, monkeypatch):
    held = []
    monkeypatch.setattr(constants, "_held", held)
    make = made([])
    make((0.0,), device=GPU)
    assert not held
    capturing[0] = True
    value = make((0.0,), device=GPU)
    assert held[0] is value
