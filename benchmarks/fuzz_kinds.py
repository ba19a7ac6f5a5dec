"""What the fuzzer spoils, and who reads it: a function and a row each.

A row's `samples` are sound, `spoil` makes one of them bad, and `read` gives it to the product as a
command would. Whatever is not a `UserError` (or one of the errors named in `may`) is a finding.
"""

import json
from functools import cache
from itertools import pairwise
from random import Random

import fuzz_checkpoints
import numpy as np
import torch
from fuzz_images import (
    FORMATS,
    TABLES,
    npys,
    npz,
    npzs,
    packed,
    read_entries,
    read_image,
    read_index,
    read_list,
    read_npy,
    read_npz,
    read_table,
    read_tar,
    read_zip,
    spoil_table,
    spoil_tar,
    tars,
    zips,
)
from fuzz_place import Kind, Place
from fuzz_runs import (
    EXPORTED,
    LOCK,
    RECORD,
    SCORES,
    SWEEP,
    read_a_lock,
    read_archive,
    read_checkpoint,
    read_export,
    read_manifest,
    read_of_statistics,
    read_scores,
    read_snapshot,
    read_sweep,
    run_files,
    snapshots,
    spoil_document,
    spoil_tensors,
    statistics_files,
    torch_archives,
)
from fuzz_servers import answers, read_web
from safetensors.torch import save

from largegan import checkpoint
from largegan.config import parse as parsing
from largegan.errors import UserError
from largegan.files.archives import DamagedMember
from largegan.files.photos import BadImage
from largegan.recipes import TABLE, options_class
from largegan.run.directory import is_run

WORDS = [
    "nan", "inf", "-inf", "-1", "0", "1", "1e29", "9" * 40, "x" * 300, "a\0b", "[1, [2]]", "~/x",
    "{a: {b: 1}}", "", "null", "true", "[]", "{}", "!!python/object/apply:os.system [true]", "0x1f",
    "1_000", "*x", "&a [*a]", "@file", "---", "%", "'", '"', "\x1b[31m", "\udcff", "a: b: c", "- 1",
]  # fmt: skip


@cache
def settings_of(recipe: str) -> list[str]:
    actions = parsing.build_parser(recipe)._actions
    return [a.option_strings[0] for a in actions if a.option_strings and "." in a.dest]


def spoil_settings(data: bytes, random: Random) -> bytes:
    """A recipe's name, and settings with words, as JSON."""
    recipe = random.choice(list(TABLE))
    chosen = random.choices(settings_of(recipe), k=random.choice((1, 1, 2, 3)))
    words = [f"{option}={random.choice(WORDS)}" for option in chosen]
    return json.dumps(["--recipe.name", recipe, *words]).encode()


def read_settings(data: bytes, place: Place, random: Random) -> None:
    config = parsing.parse(json.loads(data))
    options_class(config.recipe.name)(**parsing.recipe_options(config))


def configs() -> list[bytes]:
    config = parsing.parse(["--recipe.name", "dcgan"])
    bomb = ["a: &a [x, x]"] + [f"{b}: &{b} [*{a}, *{a}]" for a, b in pairwise("abcdefghijklmnopq")]
    return [parsing.resolved_yaml(config).encode(), "\n".join(bomb).encode()]


def read_config(data: bytes, place: Place, random: Random) -> None:
    place.put({"config.yaml": data})
    is_run(place.mine)
    parsing.parse(["--config", str(place.mine / "config.yaml")])


KINDS: dict[str, Kind] = {
    **{name: Kind(made, read_image, may=(BadImage,)) for name, made in FORMATS.items()},
    "tar": Kind(tars, read_tar, spoil_tar, share=2),
    "index": Kind(lambda: [packed()["index.json"]], read_index, spoil_document),
    "entries": Kind(lambda: [d for n, d in packed().items() if n.endswith(".npy")], read_entries),
    "zip": Kind(zips, read_zip, may=(DamagedMember,), share=2),
    "npz": Kind(npzs, read_npz),
    "npy": Kind(npys, read_npy),
    "tables of labels": Kind(lambda: TABLES, read_table, spoil_table),
    "lists": Kind(lambda: [b"0.png\n# a comment\n"], read_list),
    "weights": Kind(lambda: [run_files()[checkpoint.MODEL]],
                    read_checkpoint(checkpoint.MODEL), spoil_tensors),
    "optimizers": Kind(lambda: [run_files()[checkpoint.OPTIMIZER]],
                       read_checkpoint(checkpoint.OPTIMIZER), spoil_tensors),
    "states": Kind(lambda: [run_files()[checkpoint.STATE]],
                   read_checkpoint(checkpoint.STATE), spoil_document, share=2),
    "COMPLETE": Kind(lambda: [run_files()[checkpoint.MARKER]],
                     read_checkpoint(checkpoint.MARKER), spoil_document),
    "statistics, pickled": Kind(statistics_files, read_of_statistics(".pkl"), share=2),
    "statistics, npz": Kind(lambda: [npz(mu=np.zeros(4), sigma=np.eye(4), n=9)],
                            read_of_statistics(".npz")),
    "statistics, safetensors": Kind(
        lambda: [save({"mean": torch.zeros(4), "covariance": torch.eye(4)}, {"count": "9"})],
        read_of_statistics(".safetensors"), spoil_tensors),
    "archives of torch": Kind(torch_archives, read_archive, share=3),
    "checkpoints of others": Kind(
        fuzz_checkpoints.samples, fuzz_checkpoints.read, fuzz_checkpoints.spoil, share=3
    ),
    "exports": Kind(lambda: [json.dumps(EXPORTED).encode()], read_export, spoil_document),
    "scores": Kind(lambda: [json.dumps(SCORES).encode()], read_scores, spoil_document),
    "sweeps": Kind(lambda: [json.dumps(SWEEP).encode()], read_sweep, spoil_document),
    "locks": Kind(lambda: [json.dumps(LOCK).encode()], read_a_lock, spoil_document),
    "manifests": Kind(lambda: [json.dumps(RECORD).encode() + b"\n"], read_manifest),
    "snapshots": Kind(snapshots, read_snapshot, spoil_tensors),
    "answers of servers": Kind(answers, read_web, share=2),
    "configurations": Kind(configs, read_config),
    "settings": Kind(lambda: [b""], read_settings, spoil_settings, share=1),
}  # fmt: skip

ALLOWED = (UserError,)
