"""Devices and memory, as far as they can be told without a GPU."""

import collections
import shutil

import pytest
import torch

from largegan.doctor import machine
from largegan.doctor.finding import Visit


def without_gpus(monkeypatch):
    monkeypatch.setattr(machine, "driver_lists_gpus", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_gpu_that_torch_cannot_use(monkeypatch):
    without_gpus(monkeypatch)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (finding,) = machine.check_devices(Visit([]))
    assert finding.level == "warn" and "install a torch build" in finding.remedy


def test_gpu_that_was_hidden(monkeypatch):
    without_gpus(monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (finding,) = machine.check_devices(Visit([]))
    assert finding.level == "ok" and "(CUDA_VISIBLE_DEVICES='')" in finding.facts


def test_gpu_that_is_taken(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: f"GPU {i}")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda i: ((1 + 6 * i) << 30, 8 << 30))
    monkeypatch.setattr(torch.cuda.nccl, "version", lambda: (2, 30, 1))
    taken, summary = machine.check_devices(Visit([]))
    assert str(taken).startswith("warn  cuda:0: 1.0 of 8.0 GiB free; another program uses it")
    assert "NCCL 2.30.1; GPU 0 (1 of 8 GiB free), GPU 1 (7 of 8 GiB free)" in summary.facts


@pytest.mark.parametrize(("free", "lines"), [(64 << 20, 2), (1 << 30, 1)])
def test_little_shared_memory(monkeypatch, tmp_path, free, lines):
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(machine, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, free))
    found = list(machine.check_cpu(Visit([])))
    assert len(found) == lines
    assert lines == 1 or "64 MiB free" in found[1].facts
