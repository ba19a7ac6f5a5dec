"""Runs, statistics, other codes' archives and what tools write: what the fuzzer spoils."""

import io
import json
import pickle
from argparse import Namespace
from collections.abc import Callable
from functools import cache
from random import Random

import numpy as np
import torch
from fuzz_bytes import document, header_lies, spoiled
from fuzz_place import Place
from safetensors.torch import save

from largegan import checkpoint
from largegan.commands import curve, fid
from largegan.config import parse as parsing
from largegan.interop.importing import ImportOptions, find, write_run
from largegan.metrics.statistics import read_statistics
from largegan.restore import restore
from largegan.restore.exported import load_exported
from largegan.run.lock import read as read_lock
from largegan.run.snapshots import open_snapshots
from largegan.sampler import open_sampler
from largegan.translation.manifest import read_records


@cache
def run_files() -> dict[str, bytes]:
    """The files of a checkpoint of a small recipe."""
    from largegan import recipes
    from largegan.recipe import DataSpec

    torch.manual_seed(0)
    spec = DataSpec(3, 16, 16)
    recipe = recipes.build("dcgan", spec, {"channels": 2, "z_dim": 4})
    about = parsing.parse(["--recipe.name", "dcgan", "--recipe.channels=2", "--recipe.z_dim=4"])
    state = {
        "step": 1, "nimg": 4, "data": {"position": 4, "seed": 0, "identity": "x"},
        "bad_steps": {"total": 0, "in_a_row": {}}, "micro_batch_size": 4, "class_names": [],
        "config": parsing.as_dict(about), "spec": vars(spec), "processes": 1,
    }  # fmt: skip
    files = {
        checkpoint.MODEL: save(checkpoint.on_host(recipe.state_dict())),
        checkpoint.OPTIMIZER: save({"G/x/exp_avg": torch.zeros(2)}),
        checkpoint.STATE: json.dumps(state).encode(),
    }
    return files | {checkpoint.MARKER: marker_of(files)}


def marker_of(files: dict[str, bytes]) -> bytes:
    import hashlib

    facts = {
        n: {"bytes": len(d), "sha256": hashlib.sha256(d).hexdigest()} for n, d in files.items()
    }
    return json.dumps({"written": "", "files": facts}).encode()


def read_checkpoint(name: str) -> Callable[[bytes, Place, Random], None]:
    """As sample reads one, and as a run looks for what to go on from."""

    def read(data: bytes, place: Place, random: Random) -> None:
        files = {k: v for k, v in run_files().items() if k != checkpoint.MARKER} | {name: data}
        if name != checkpoint.MARKER:
            files[checkpoint.MARKER] = marker_of(files)
        run = place.mine / "run"
        place.put(files, "run/checkpoints/000000004")
        checkpoint.newest(run / "checkpoints")
        found = checkpoint.load(run / "checkpoints" / "000000004")
        checkpoint.check_resumable(run, found.state)
        sampler = open_sampler(run, "cpu")
        list(sampler.by_seed([0], batch=1))
        restore(run)

    return read


def spoil_tensors(data: bytes, random: Random) -> bytes:
    return (header_lies if random.randrange(3) else spoiled)(data, random)


def spoil_document(data: bytes, random: Random) -> bytes:
    return document(json.loads(data), random)


@cache
def statistics_files() -> list[bytes]:
    mean, covariance = np.arange(4.0), np.eye(4)
    sums = {"raw_mean": mean * 9, "raw_cov": covariance * 9, "num_items": 9}
    made = [pickle.dumps({"mu": mean, "sigma": covariance}, protocol=p) for p in (2, 4, 5)]
    return [*made, pickle.dumps({"fid": {"mu": mean, "sigma": covariance}}), pickle.dumps(sums)]


def read_of_statistics(ending: str) -> Callable[[bytes, Place, Random], None]:
    def read(data: bytes, place: Place, random: Random) -> None:
        place.put({f"s{ending}": data})
        read_statistics(place.mine / f"s{ending}")

    return read


def torch_archives() -> list[bytes]:
    """In both formats; the older one holds addresses, and is another in every process."""
    found = []
    state = {"model.1.weight": torch.zeros(4, 3, 7, 7), "model.1.bias": torch.zeros(4)}
    for zipped in (True, False):
        for content in (state, {"state_dict": state, "epoch": 3}):
            out = io.BytesIO()
            torch.save(content, out, _use_new_zipfile_serialization=zipped)
            found.append(out.getvalue())
    found.append(pickle.dumps({"G_ema": state, "training_set_kwargs": {"path": "x"}}))
    return found


def read_archive(data: bytes, place: Place, random: Random) -> None:
    """As import_checkpoint reads one; a folder of them now and then."""
    path = place.mine / random.choice(("latest_net_G.pth", "snapshot.pkl", "G.pth"))
    place.put({path.name: data})
    found = find(path if random.randrange(2) else place.mine, ImportOptions(resolution=16))
    write_run(found, place.out / "run")


EXPORTED = {
    "format": "largegan network, version 1", "kind": "generator", "recipe": "dcgan",
    "options": {"channels": 2, "z_dim": 4}, "sha256": "0" * 64, "direction": None,
    "spec": {"channels": 3, "height": 16, "width": 16, "num_classes": 0, "channels_b": 0},
}  # fmt: skip
SCORES = {
    "scores": {"fid": 3.0, "fid_error": 0.1},
    "protocol": {"backbone": {"name": "x", "sha256": "y"}},
}
SWEEP = {"sets": [{"truncation": 0.5, "folder": "0.5", "count": 4}]}
LOCK = {"token": "a", "host": "b", "pid": 1, "started": "1", "boot": None, "pids": None,
        "job": None, "start": 0}  # fmt: skip
RECORD = {"output": "a.png", "bytes": 1, "sha256": "0" * 64}


def read_export(data: bytes, place: Place, random: Random) -> None:
    place.put({"config.json": data, "model.safetensors": save({})})
    load_exported(place.mine)


def read_scores(data: bytes, place: Place, random: Random) -> None:
    place.put({"before.json": data})
    fid.comparison(place.mine / "before.json", SCORES)


def read_sweep(data: bytes, place: Place, random: Random) -> None:
    place.put({"manifest.json": data})
    words = {"thresholds": None, "standing": 0, "seed": 0, "count": None}
    curve.points_of(Namespace(generated=place.mine, **words))


def read_a_lock(data: bytes, place: Place, random: Random) -> None:
    place.put({".lock": data})
    read_lock(place.mine / ".lock")


def read_manifest(data: bytes, place: Place, random: Random) -> None:
    place.put({"manifest.jsonl": data})
    read_records(place.mine / "manifest.jsonl")


def snapshots() -> list[bytes]:
    tensors = {"G/0/w": torch.zeros(2), "G/1/w": torch.zeros(2), "G/b": torch.zeros(1)}
    return [save(tensors, {"widths": "[0.05, 0.1]"})]


def read_snapshot(data: bytes, place: Place, random: Random) -> None:
    sound = snapshots()[0]
    place.put({"000000004.safetensors": sound, "000000008.safetensors": data}, "snapshots")
    open_snapshots(place.mine).average(0.07)
