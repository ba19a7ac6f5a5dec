"""Figures of docs/measured.md, from files of benchmarks/results: `python -m tests.docs.measured`.

A row of the page whose first cell is known here gets its second from there, so the page cannot say
what was not measured. Rows of runs by hand, which leave no file, are not here.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "measured.md"


def results(name: str) -> Any:
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())


def listed(values: list[str]) -> str:
    """`1, 2 and 3`"""
    return f"{', '.join(values[:-1])} and {values[-1]}"


def digits(value: float) -> str:
    """Two digits at least: 10, 5.8, 0.9."""
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}"


def span(values: list[float]) -> str:
    return f"{digits(min(values)).removesuffix('.0')} to {digits(max(values)).removesuffix('.0')}"


def overhead() -> str:
    return f"{100 * (results('overhead-amd-epyc-2-cores')['ratio'] - 1):.1f} % more CPU time"


def processes() -> str:
    one, *more = results("overlap-amd-epyc-2-cores")["results"]
    times = [one["seconds"]["alone"] / min(row["seconds"].values()) for row in more]
    return f"{listed([f'{x:.1f}' for x in times])} times as fast"


def overlap() -> str:
    ratios = [r["ratio"] for r in results("overlap-amd-epyc-2-cores")["results"] if "ratio" in r]
    return "; ".join(f"{ratio:.2f}" for ratio in ratios) + " times the time"


def decoding(size: int, against: str) -> float:
    (row,) = (r for r in results("data")["results"] if r["size"] == size)
    return float(row["ratio_to_largegan"][against])


def bare_decoder() -> str:
    return f"{100 * (1 / decoding(256, 'bare_decoder') - 1):.0f} % more CPU time"


def translations() -> str:
    rows = {row["row"]: row for row in results(TRANSLATIONS)["results"]}
    rows = [rows[name] for name in ("cyclegan", "pix2pix", "cut")]
    peaks = [[f"{row['peak_mib'][side] / 1024:.1f}" for row in rows] for side in ("ours", "peer")]
    times = listed([f"{row['ratio']:.2f}" for row in rows])
    ours, theirs = map(", ".join, peaks)
    return f"{times} times as fast; peak memory {ours} GiB and theirs {theirs}"


def translated() -> str:
    rows = results("translation-quality-amd-epyc-2-cores-shared")["rows"]
    ends = {row["row"]: row for row in rows if row["point"] == 1.0}
    psnr = {name: f"{row['psnr'][1]:.1f}" for name, row in ends.items()}
    return (
        f"PSNR {psnr['ours pix2pix']} dB and theirs {psnr['peer pix2pix']}; by our preset "
        f"{psnr['ours pix2pix preset']}; copying the input {rows[0]['copy_psnr']:.1f}; one seed"
    )


def quality() -> str:
    rows = results("quality-amd-epyc-2-cores-shared")["rows"]
    return ", ".join(f"{name} {points[-1]['fid'][1]:.0f}" for name, points in rows.items())


TRANSLATIONS = "translation-training-amd-epyc-2-cores-shared"


def resizing() -> str:
    rows = results("fid")["preprocessing"]
    return ", ".join(f"{row['times_as_fast']:.1f}" for row in rows) + " times as fast"


def resampling(op: str) -> str:
    rows = results("ops-amd-epyc-2-cores")["rows"]
    rows = [row for row in rows if row["op"] == op and row["layout"] == "channels_last"]
    forward, both = ([row[way]["speedup"] for row in rows] for way in ("forward", "both_ways"))
    return f"forward {span(forward)} times as fast, both ways {span(both)}"


def stylegan2(against: str) -> list[float]:
    sizes = results("stylegan2-iteration-amd-epyc-2-cores")["sizes"]
    return [size["whole_iteration_speedup"][against] for size in sizes]


def recorded() -> str:
    rows = results("cuda-graphs-nvidia-h100-80gb-hbm3")["rows"]
    rows = sorted((r for r in rows if r["variant"] == "graphs"), key=lambda row: -row["ratio"])
    times = ", ".join(f"{r['row'].replace(', ', ' ')} {r['ratio']:.1f}" for r in rows)
    return f"{times} times as fast"


# The beginning of the first cell: what the second says.
FIGURES: dict[str, Callable[[], str]] = {
    "trainer and engine, against a hand-written loop": overhead,
    "2 and 4 processes on the two cores, against 1": processes,
    "gradients that leave during backward, against after it": overlap,
    "reading 64-pixel JPEG, against webdataset's": lambda: (
        f"{decoding(64, 'wds_torchrgb8'):.1f} times as fast"
    ),
    "reading 256-pixel JPEG, against the same": lambda: (
        f"{decoding(256, 'wds_torchrgb8'):.1f} times as fast"
    ),
    "reading 256-pixel JPEG, against the bare decoder": bare_decoder,
    "an iteration of CycleGAN, pix2pix, CUT at 256 pixels": translations,
    "iterations with `train.cuda_graphs`": recorded,
    "pix2pix after 240 seconds": translated,
    "FID after 300 seconds of processor time": quality,
    "FID of given statistics (2048 features)": lambda: (
        f"{results('fid')['maths']['times_as_fast']:.1f} times as fast"
    ),
    "resizing for Inception from 32, 256, 1024 pixels": resizing,
    "`upsample2d`, channels_last": lambda: resampling("upsample2d"),
    "`downsample2d`, channels_last": lambda: resampling("downsample2d"),
    "a StyleGAN2 iteration at 64 and 128 pixels": lambda: (
        f"{' and '.join(f'{x:.1f}' for x in stylegan2('literal'))} times as fast"
    ),
}


def filled(page: str) -> str:
    """The page with the figures of the files."""
    return "\n".join(figured(line) for line in page.split("\n"))


def figured(line: str) -> str:
    for begin, figure in FIGURES.items():
        if line.startswith(f"| {begin}"):
            what, _, script = line.removeprefix("| ").removesuffix(" |").split(" | ")
            return f"| {what} | {figure()} | {script} |"
    return line


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
