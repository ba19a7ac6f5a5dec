"""Other codes' checkpoints, spoiled: bytes of one file, or what a file says of its tensors.

A sample is one file of a source, with a line before it that says which; the source's other files
come as they are. The sources are those that the tests of the importers make from arguments.
"""

import io
import json
import re
import sys
import tempfile
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import torch
from fuzz_bytes import LIES, spoiled

sys.path.insert(0, str(Path(__file__).parents[1]))  # the makers of files are the tests'

from largegan.interop.importing import find, write_run
from largegan.interop.peers import build
from tests.interop import hostile
from tests.interop.sources import SOURCES

CHOSEN = (
    "stylegan2 8", "stylegan2 in EasyDicts", "stylegan3 t 32", "r3gan G_ema only", "biggan 32",
    "biggan in torch's row of pickles", "biggan in torch's tar", "cyclegan said", "pix2pix back",
    "fastcut said", "studiogan sngan 32", "studiogan dcgan",
)  # fmt: skip
WEIGHT = 5
ARGUMENTS = re.compile(
    rb"(img_resolution|img_channels|[czw]_dim|num_layers|channel_base|channel_max|conv_clamp"
    rb"|architecture|mapping_kwargs|synthesis_kwargs|epilogue_kwargs|_init_args|_modules)"
)
SPARE_MB = 500  # beside twice the files

torch.set_num_threads(1)  # workers are forked, and OpenMP's threads do not survive that


class Bloated(Exception):
    """More memory than any such file needs."""


@cache
def files() -> dict[str, dict[str, bytes]]:
    """Every chosen source's files by name; and what wants to do harm, each alone."""
    found = {}
    for name in CHOSEN:
        with tempfile.TemporaryDirectory() as folder:
            made = SOURCES[name].write(Path(folder))
            paths = sorted(made.iterdir()) if made.is_dir() else [made]
            found[name] = {path.name: path.read_bytes() for path in paths}
    harm = hostile.pickles() | hostile.archives()
    small = {name: data for name, data in harm.items() if len(data) < 1 << 16}
    return found | {name: {"snapshot.pkl": data} for name, data in small.items()}


def samples() -> list[bytes]:
    """Files of sources several times each, so that they outweigh what wants to do harm."""
    return [
        json.dumps([name, file]).encode() + b"\n" + data
        for name, inside in files().items()
        for file, data in inside.items()
        for _ in range(WEIGHT if name in CHOSEN else 1)
    ]


def spoil(sample: bytes, random: Random) -> bytes:
    """Changes bytes; every second time what a state dictionary or a network's arguments say."""
    head, _, data = sample.partition(b"\n")
    name, file = json.loads(head)
    if file.endswith(".pth") and "tar" not in name and random.randrange(2):
        return head + b"\n" + lied(data, random)
    if name in CHOSEN and file.endswith(".pkl") and random.randrange(2):
        return head + b"\n" + misled(data, random)
    if random.randrange(4) == 0:
        return head + b"\n" + hostile.mutate(data, random)
    return head + b"\n" + spoiled(data, random)


def lied(data: bytes, random: Random) -> bytes:
    """A state dictionary with lies in it, as torch writes it."""
    content = torch.load(io.BytesIO(data), weights_only=True)
    state = content.get("state_dict", content)
    for _ in range(random.choice((1, 1, 2, 5))):
        if state:
            random.choice(TALES)(state, random.choice(list(state)), random)
    out = io.BytesIO()
    torch.save(content, out, _use_new_zipfile_serialization=bool(random.randrange(4)))
    return out.getvalue()


def misled(data: bytes, random: Random) -> bytes:
    """A pickle in which an argument, or how deep its networks lie, is another."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4))):
        at = random.choice(list(ARGUMENTS.finditer(data))).end() + random.randrange(1, 6)
        changed[at] = random.choice((random.randrange(256), *b"KMJN}])"))
    return bytes(changed)


def drop(state: dict, name: str, random: Random) -> None:
    del state[name]


def rename(state: dict, name: str, random: Random) -> None:
    """Another number in a name, or another name."""
    number = str(random.choice((0, 1, 2, 9, 99, 10**9)))
    changed = re.sub(r"\d+", number, name, count=1)
    state[random.choice((changed, name.upper(), name + ".weight", "x"))] = state.pop(name)


def reshape(state: dict, name: str, random: Random) -> None:
    tensor = state[name]
    if not isinstance(tensor, torch.Tensor):
        return
    huge = (1 << 20, *[1] * tensor.dim())
    state[name] = random.choice((
        lambda: tensor.flatten(), lambda: tensor[None], lambda: tensor.mT if tensor.dim() > 1 else
        tensor, lambda: tensor.flatten()[:0], lambda: tensor.flatten()[:1].expand(huge[0]),
        lambda: torch.zeros(1, 1, 1, 1), lambda: tensor.sum(),
    ))()  # fmt: skip


def retype(state: dict, name: str, random: Random) -> None:
    tensor = state[name]
    kinds = (torch.int64, torch.float16, torch.bool, torch.float64, torch.uint8)
    if isinstance(tensor, torch.Tensor):
        state[name] = tensor.to(random.choice(kinds))


def replace(state: dict, name: str, random: Random) -> None:
    """Something that is no tensor, or no finite one."""
    lie = random.choice(LIES)
    shape = getattr(state[name], "shape", ())
    state[name] = random.choice((lie, torch.full(shape, float("nan"))))


def swap(state: dict, name: str, random: Random) -> None:
    other = random.choice(list(state))
    state[name], state[other] = state[other], state[name]


TALES = (drop, rename, reshape, retype, replace, swap)


def read(data: bytes, place: Any, random: Random) -> None:
    """As import_checkpoint reads it; raises Bloated where that took too much memory."""
    head, _, spoiled_file = data.partition(b"\n")
    name, file = json.loads(head)
    inside = files()[name] | {file: spoiled_file}
    place.put(inside, "source")
    folder = place.mine / "source"
    alone = len(inside) == 1 or random.randrange(8) == 0
    with place.quiet():
        before = restart_peak()
    try:
        found = find(folder / file if alone else folder)
        if random.randrange(4):
            build(found)
        else:
            write_run(found, place.out / "run")
    finally:
        with place.quiet():
            grown = memory_mb("VmHWM") - before
            allowed = 2 * sum(map(len, inside.values())) / 2**20 + SPARE_MB
            if grown > allowed:
                raise Bloated(f"{grown:.0f} MB, and {allowed:.0f} are enough")


def restart_peak() -> float:
    """MB that are held now; what the kernel calls the peak begins anew there."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory_mb("VmRSS")


def memory_mb(what: str) -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{what}:")[1].split()[0]) / 1024
