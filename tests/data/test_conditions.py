"""Labels that are vectors or numbers: kept whole from the source to the networks, or refused."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from largegan import recipes, train
from largegan.data import open_data
from largegan.data.formats import open_originals
from largegan.data.originals import Request
from largegan.errors import ConfigError, DataError
from largegan.recipe import DataSpec
from largegan.recipes import TABLE
from largegan.restore import restore
from largegan.run.data import check_vectors
from tests.data import writers
from tests.data.writers import COUNT, FILES, IMAGES

VECTORS = [(i % 3, 0.5 * (i % 2), 1.0) for i in range(COUNT)]  # six different ones
NUMBERS = [(0.25 * (i % 5),) for i in range(COUNT)]
Vectors = list[tuple[float, ...]]


def pictures(root: Path) -> list[str]:
    root.mkdir()
    names = [f"{i:03d}.png" for i in range(COUNT)]
    for name, data in zip(names, FILES, strict=True):
        (root / name).write_bytes(data)
    return names


def dataset_json(root: Path, vectors: Vectors) -> Path:
    pairs = [[n, list(v)] for n, v in zip(pictures(root), vectors, strict=True)]
    (root / "dataset.json").write_text(json.dumps({"labels": pairs}))
    return root


def table(root: Path, vectors: Vectors) -> Path:
    """A column for each number, and one that is something else."""
    heading = ["image", "other", *(f"n{i}" for i in range(len(vectors[0])))]
    rows = [[n, "x", *v] for n, v in zip(pictures(root), vectors, strict=True)]
    with (root / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([heading, *rows])
    return root / "list.csv"


def npz(root: Path, vectors: Vectors) -> Path:
    path = root.with_suffix(".npz")
    np.savez(path, images=IMAGES, labels=np.array(vectors, np.float32))
    return path


def hdf5(root: Path, vectors: Vectors) -> Path:
    return writers.hdf5(root, images=IMAGES, labels=np.array(vectors))


def parquet(root: Path, vectors: Vectors) -> Path:
    import pyarrow
    from pyarrow import parquet

    columns = {"image": FILES, "label": [list(map(float, v)) for v in vectors]}
    parquet.write_table(pyarrow.table(columns), root)
    return root


def shards(root: Path, vectors: Vectors) -> Path:
    members = []
    for i, (data, vector) in enumerate(zip(FILES, vectors, strict=True)):
        label = json.dumps({"label": list(vector)}).encode()
        members += [(f"{i:03d}.png", data), (f"{i:03d}.json", label)]
    return writers.write_tar(root / "x.tar", members)


WRITERS = {f.__name__: f for f in (dataset_json, table, npz, hdf5, parquet, shards)}


@pytest.mark.parametrize("vectors", [VECTORS, NUMBERS], ids=["vectors", "numbers"])
@pytest.mark.parametrize("name", WRITERS)
def test_vectors_stay_whole(tool, tmp_path: Path, name: str, vectors: Vectors) -> None:
    source = WRITERS[name](tmp_path / "s", vectors)
    fields = ",".join(f"n{i}" for i in range(len(vectors[0])))
    words = ["--label-field", fields] if name == "table" else []
    code, said, err = tool(
        "pack", source, tmp_path / "out", "--label-vectors", "--format", "png", *words
    )
    assert code == 0 and "labels that are vectors" in said, err
    packed = open_data(tmp_path / "out")
    assert packed.info.condition_dim == len(vectors[0])
    assert packed.info.num_classes == len(set(vectors))
    micro = packed.read(np.arange(COUNT))
    wanted = {image.tobytes(): v for image, v in zip(IMAGES, vectors, strict=True)}
    for image, label in zip(micro["image"].permute(0, 2, 3, 1), micro["label"], strict=True):
        assert tuple(packed.conditions[label]) == wanted[image.numpy().tobytes()]
    assert tool("verify", tmp_path / "out")[0] == 0


def test_without_a_word_they_are_refused(tool, tmp_path: Path) -> None:
    for name in ("dataset_json", "parquet", "shards"):
        source = WRITERS[name](tmp_path / name, VECTORS)
        code, _, err = tool("pack", source, tmp_path / "out")
        assert code == 3 and "say --label-vectors (data.label_vectors)" in err, err


@pytest.mark.parametrize("odd", [["x"], [1.0, 2.0], [float("nan")], [], None])
def test_what_is_no_vector_is_refused(tmp_path: Path, odd) -> None:
    source = dataset_json(tmp_path / "s", [(1.0,)] * (COUNT - 1) + [odd or ()])
    if odd is None:
        text = (source / "dataset.json").read_text().replace("[]]", "null]")
        (source / "dataset.json").write_text(text)
    with pytest.raises(DataError, match=r"as many finite numbers for every image|cannot be read"):
        open_originals(source, Request(vectors=True, scratch=tmp_path))


def test_damaged_conditions_are_a_sentence(tool, tmp_path: Path) -> None:
    tool("pack", dataset_json(tmp_path / "s", VECTORS), tmp_path / "out", "--label-vectors")
    place = tmp_path / "out" / "conditions.npy"
    for content in (np.zeros((6, 2), np.float32), np.full((6, 3), np.nan, np.float32)):
        np.save(place, content)
        with pytest.raises(DataError, match=r"conditions\.npy has shape"):
            open_data(tmp_path / "out")
    place.unlink()
    with pytest.raises(DataError, match=r"conditions\.npy cannot be read"):
        open_data(tmp_path / "out")


NARROW = {
    "stylegan2": {"channel_max": 8},
    "stylegan3": {"channel_max": 8, "d_channel_max": 8},
    "r3gan": {"channel_max": 64},
}


@pytest.mark.parametrize("name", TABLE)
def test_recipes_say_whether_they_take_vectors(name: str) -> None:
    recipe = recipes.recipe_class(name)
    spec = DataSpec(3, 32, 32, 6, condition_dim=3)
    if not recipe.vectors:
        with pytest.raises(ConfigError, match=f"recipe {name} knows classes"):
            check_vectors(name, recipe, spec)
        return
    check_vectors(name, recipe, spec)
    built = recipes.build(name, spec, {"conditional": True, **NARROW[name]})
    assert built.conditions.table.shape == (6, 3) and "conditions.table" in recipe.run_state
    assert "conditions.table" in built.state_dict()


def test_a_run_with_vectors_is_trained_and_drawn(tmp_path: Path, tool) -> None:
    """What the labels of the data stand for is in the checkpoint, and networks get it."""
    words = [str(dataset_json(tmp_path / "s", VECTORS)), "--recipe.name", "stylegan2"]
    words += ["--data.cache_dir", str(tmp_path / "cache"), "--data.label_vectors", "true"]
    words += ["--run.dir", str(tmp_path / "run"), "--train.total_nimg", "4", "--data.workers", "0"]
    words += ["--train.batch_size", "4", "--train.sample_rows", "1", "--train.cpu_threads", "1"]
    words += ["--recipe.channel_base", "64", "--recipe.channel_max", "8", "--recipe.w_dim", "8"]
    words += ["--recipe.z_dim", "8", "--recipe.mapping_layers", "2"]
    assert train.main(words) == 0
    recipe = restore(tmp_path / "run").recipe
    assert sorted(map(tuple, recipe.conditions.table.tolist())) == sorted(set(VECTORS))
    assert recipe.G.mapping.embed.weight.shape[1] == 3
    z = torch.randn(1, 8).expand(2, 8)
    one, other = recipe.decode(z, torch.tensor([0, 5]))
    assert not torch.equal(one, other)
    assert tool("sample", tmp_path / "run", tmp_path / "x.png", "--seeds", "0-3")[0] == 0
