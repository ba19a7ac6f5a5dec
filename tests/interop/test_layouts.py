"""Files of every kind that arguments can make: other sizes, classes, switches, torch versions."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import largegan
from largegan import train
from largegan.data.pack import pack
from largegan.data.prepare import Preparation
from largegan.data.writing import Layout
from largegan.errors import DataError
from largegan.interop import importing, publish
from largegan.interop.peers import build
from largegan.nets.unet_translation import UNetGenerator as UNet
from largegan.recipe import DataSpec
from largegan.restore import restore
from tests.golden import goldcheck
from tests.golden.goldcheck import Case
from tests.interop import layouts
from tests.interop.sources import SOURCES
from tests.interop.sources.studiogan import studiogan
from tests.interop.sources.stylegan import stylegan2

# Listings of files that exist: what `layouts` makes of a case's arguments has to be the same.
GOLDEN = {
    ("sg2ada_r16_skip", "G"): layouts.stylegan2_g(resolution=16, z=16, w=16, base=256, most=24),
    ("sg2ada_r16_skip", "D"): layouts.stylegan2_d(
        resolution=16, base=256, most=24, architecture="skip"
    ),
    ("sg2ada_r64_cond_map8", "G"): layouts.stylegan2_g(
        resolution=64, z=12, w=20, c=5, layers=8, base=512, most=16
    ),
    ("sg2ada_r64_cond_map8", "D"): layouts.stylegan2_d(resolution=64, c=5, base=512, most=16),
    ("sg2ada_r32_resnetG", "G"): layouts.stylegan2_g(
        resolution=32, z=16, w=16, base=256, most=18, architecture="resnet"
    ),
    ("sg2ada_r32_orig_noclamp", "D"): layouts.stylegan2_d(
        resolution=32, base=320, most=16, architecture="orig", spread=2
    ),
    ("sg3r_r32_cond", "G"): layouts.stylegan3_g(
        resolution=32, kind="r", z=16, w=16, c=4, base=512, most=20, layers=8
    ),
    ("sg3t_r64_uncond", "G"): layouts.stylegan3_g(resolution=64, z=16, w=16, base=512, most=12),
    ("r3gan_r32_cond", "G"): layouts.r3gan_g(
        widths=[24, 16, 16, 12], groups=[6, 4, 4, 3], z=16, c=5, embed=16
    ),
    ("r3gan_r32_cond", "D"): layouts.r3gan_d(
        widths=[24, 16, 16, 12], groups=[6, 4, 4, 3], c=5, embed=16
    ),
    ("biggan_r64_attn", "G"): layouts.biggan_g(
        resolution=64, z=25, ch=4, classes=10, attention=(32,)
    ),
    ("biggan_r64_attn", "D"): layouts.biggan_d(resolution=64, ch=4, classes=10, attention=(16,)),
    ("biggan_r32_plain_mybn", "G"): layouts.biggan_g(
        resolution=32, z=12, ch=4, shared=0, hier=False, own_norm=True
    ),
    ("biggan_r64_nohier_thin", "D"): layouts.biggan_d(resolution=64, ch=4, classes=3, wide=False),
    ("cyclegan_r64_original", "G_A"): layouts.resnet(ngf=4),
    ("cyclegan_r64_antialias_6blocks", "G_A"): layouts.resnet(blocks=6, blur=True, blur_up=True),
    ("cyclegan_r64_antialias_6blocks", "D_A"): layouts.patchgan(blur=True),
    ("cyclegan_r48x48_vanilla_batchnorm", "G_A"): layouts.resnet(ngf=4, norm="batch"),
    ("pix2pix_unet128_b2", "G"): layouts.unet(levels=7),
    ("pix2pix_unet256", "G"): layouts.unet(levels=8),
    ("pix2pix_unet128_b2", "D"): layouts.patchgan(inputs=6, norm="batch"),
    ("cut_r32", "F"): layouts.projection([3, 8, 16, 16, 16]),
    ("sagan_resnet_r64", "G"): layouts.studio_g(
        resolution=64, z=12, ch=4, classes=5, spectral=True, attention=(2,)
    ),
    ("sagan_resnet_r64", "D"): layouts.studio_d(resolution=64, ch=4, classes=5, attention=(2,)),
    ("wgangp_resnet_r32", "D"): layouts.studio_d(resolution=32, ch=8, spectral=False),
    ("bigganstudio_r32", "G"): layouts.studio_g(
        resolution=32, z=16, ch=6, classes=6, shared=6, spectral=True, attention=(2,)
    ),
    ("dcgan_r32", "G"): layouts.studio_dcgan_g(z=16, widths=(32, 16, 8, 4)),
    ("dcgan_r32", "D"): layouts.studio_dcgan_d(widths=(4, 8, 16, 32)),
}


@pytest.mark.parametrize(("case", "net"), GOLDEN)
def test_layouts_are_those_of_files(case, net):
    published = Case(goldcheck.HERE / "data", case).state(net)
    assert GOLDEN[case, net] == {name: tuple(t.shape) for name, t in published.items()}


# Tensors that have no place with us: constants, counts, and what the importers say they leave.
UNPLACED = re.compile(
    r"(resample_filter|_filter|transform|Kernel|filt|num_batches_tracked|accumulation_counter"
    r"|u1|sv1)$"
)


def fingerprint(tensor: Tensor) -> tuple:
    """What tells tensors of random numbers apart, whatever their ones."""
    flat = tensor.float().flatten()
    return len(flat), *(flat[[0, -1]].tolist() if len(flat) else ())


@torch.no_grad()
def drawn(recipe, spec: DataSpec) -> Tensor:
    """Two images, drawn or translated."""
    if recipe.directions:
        direction = recipe.directions[0]
        channels = spec.channels if direction == "a_to_b" else spec.channels_b
        side = spec.height if UNet in map(type, recipe.modules()) else 32
        return recipe.translate(torch.rand(1, channels, side, side), direction=direction)
    z = recipe.latent(2, torch.Generator().manual_seed(0))
    labels = torch.tensor([0, spec.num_classes - 1]) if spec.num_classes else None
    return recipe.decode(z, labels)


EVERY_TIME = {  # one for each thing that an importer does differently; the slow suite has them all
    "stylegan2 8", "stylegan2 gray", "stylegan2 G_ema only", "stylegan2 G only",
    "stylegan2 in EasyDicts", "stylegan2 half", "stylegan2 in DataParallel", "stylegan2 no noise",
    "stylegan2 one mapping layer", "stylegan2 no clamp", "stylegan2 spread of 3",
    "stylegan2 no spread", "stylegan2 another D", "stylegan2 all that may be said",
    "stylegan2 converted from TensorFlow",
    "stylegan2 resnet and orig", "stylegan2 orig and skip", "stylegan3 gray, G_ema only",
    "stylegan3 all that may be said", "r3gan gray, one wide block a stage", "r3gan G_ema only",
    "biggan not shared", "biggan of another D", "biggan in torch's tar", "biggan best copy",
    "cyclegan gray to color", "cyclegan of torch 0.3", "cyclegan iteration", "cyclegan unet_128",
    "cyclegan said", "pix2pix unet_128, gray to 4", "pix2pix back", "pix2pix said as before 2019",
    "cut without projection", "fastcut said", "studiogan sagan 32", "studiogan wgan_gp",
    "studiogan biggan without classes",
    "studiogan of several GPUs", "studiogan dcgan", "studiogan sngan's dcgan, 3 classes",
}  # fmt: skip
ROWS = [
    name if name in EVERY_TIME else pytest.param(name, marks=pytest.mark.slow) for name in SOURCES
]


@pytest.mark.parametrize("name", ROWS)
def test_made_from_arguments(name, tmp_path):
    source = SOURCES[name]
    found = importing.find(source.write(tmp_path), source.wishes)
    assert found.recipe == source.recipe
    assert found.spec == source.spec
    for key, value in source.options.items():
        assert found.options[key] == value, key
    assert set(found.nets) == set(source.states)
    importing.configuration(found)
    recipe, _ = build(found)
    for net in source.states:
        placed = {fingerprint(t) for t in recipe.get_submodule(net).state_dict().values()}
        rows = [t for t in recipe.get_submodule(net).buffers() if t.dim() > 1]
        placed |= {fingerprint(row) for t in rows for row in t}
        for peer, tensor in found.nets[net].state.items():
            assert UNPLACED.search(peer) or fingerprint(tensor.load()) in placed, peer
    images, spec = drawn(recipe.eval(), source.spec), source.spec
    back = recipe.directions[:1] == ("b_to_a",)
    assert images.shape[1] == (spec.channels if back else spec.channels_b or spec.channels)
    assert images.isfinite().all() and images.std() > 0


def test_classes_that_are_fewer_than_the_network_knows(tmp_path):
    source = stylegan2(c=7, told_classes=5).write(tmp_path)
    with pytest.raises(DataError, match=r"mapping\.embed\.weight has the shape \[8, 7\]"):
        build(importing.find(source))


def test_more_blocks_than_the_rest_of_a_network_has(tmp_path):
    folder = SOURCES["studiogan sngan 32"].write(tmp_path)
    (path,) = folder.glob("model=D-*")
    content = torch.load(path)
    content["state_dict"]["blocks.99.0.conv2d2.bias"] = torch.ones(2)
    torch.save(content, path)
    with pytest.raises(DataError, match="not named like those of such a network"):
        build(importing.find(folder))


def test_a_generator_of_biggan_alone_in_a_file(tmp_path):
    folder = SOURCES["biggan of several GPUs"].write(tmp_path)
    found = importing.find(folder / "G_ema.pth")
    assert set(found.nets) == {"G_ema.net"} and found.options["d_channels"] == 1
    with pytest.raises(DataError, match="none of what can be imported"):
        importing.find(folder / "D.pth")


def test_a_folder_above_checkpoints_names_them(tmp_path):
    """BigGAN's `weights`, or a run of StyleGAN with many snapshots."""
    for name in ("run 1", "run 2"):
        (tmp_path / name).mkdir()
    for i in range(3):
        (tmp_path / f"network-{i}.pkl").touch()
    with pytest.raises(
        DataError, match=r"give one of what lies in it: network-0.pkl, network-1.pk"
    ):
        importing.find(tmp_path)
    (tmp_path / "run 1" / "notes.txt").touch()
    with pytest.raises(DataError, match=r"none of what can be imported: "):
        importing.find(tmp_path / "run 1")


def test_another_judge_is_left_behind_with_a_note(tmp_path):
    other = {"discriminator.main.0.weight": torch.ones(2, 3)}
    (tmp_path / "a").mkdir()
    found = importing.find(stylegan2(judge_state=other).write(tmp_path / "a"))
    assert "D" not in found.nets and "left behind" in found.notes[0]
    heads = layouts.studio_d(resolution=32) | {"linear2.weight_orig": (4, 2)}
    made = studiogan("sngan", 32, g=layouts.studio_g(resolution=32), d=heads)
    found = importing.find(made.write(tmp_path))
    assert "D" not in found.nets and "several heads" in found.notes[0]


@pytest.mark.parametrize("kept", ["AB", "A", "B"])
def test_one_of_the_two_generators_of_cyclegan(kept, tmp_path):
    folder = SOURCES["cyclegan 6 blocks"].write(tmp_path)
    for path in folder.iterdir():
        if path.stem[-1] not in kept:
            path.unlink()
    found = importing.find(folder)
    recipe, _ = build(found)
    assert len(recipe.directions) == len(kept)
    assert any("has one direction" in note for note in found.notes) == (len(kept) == 1)


def test_a_projection_that_is_another_is_left_behind_with_a_note(tmp_path):
    folder = SOURCES["cut"].write(tmp_path)
    others = {
        "no projection of sampled": {"conv_0.weight": torch.ones(4, 3, 3, 3)},
        "is of 2 layers": layouts.tensors(layouts.projection([3, 6])),
    }
    for says, state in others.items():
        torch.save(state, folder / "latest_net_F.pth")
        found = importing.find(folder)
        assert set(found.nets) == {"G", "D"} and any(says in note for note in found.notes)


# Lives.

LIVES = [
    "stylegan2 no noise",
    "stylegan2 another D",
    "stylegan2 G_ema only",
    "stylegan2 gray",
    "stylegan3 t 32",
    "stylegan3 all that may be said",
    "r3gan gray, one wide block a stage",
    "biggan 32",
    "biggan not shared",
    "biggan of another D",
    "cyclegan 6 blocks",
    "cyclegan gray to color",
    "cyclegan D of pixels",
    "pix2pix back",
    "pix2pix G only",
    "cut",
    "cut without projection",
    "fastcut said",
    "studiogan sngan 32",
    "studiogan sagan 32",
    "studiogan biggan 64",
    "studiogan wgan_gp",
    "studiogan sngan's dcgan, 3 classes",
]


def picture(number: int, side: int, channels: int) -> Image.Image:
    noise = np.random.default_rng(number).integers(0, 256, (side, side, channels), np.uint8)
    return Image.fromarray(noise[..., 0] if channels == 1 else noise)


def shards(folder: Path, spec: DataSpec, *, paired: bool) -> Path:
    """A few pictures of the channels and classes of a source."""
    domains = {"a": spec.channels, "b": spec.channels_b} if spec.channels_b else {"": spec.channels}
    images, packed = folder / "images", folder / "shards"
    for domain, channels in domains.items():
        for i in range(8):
            inner = "" if domain else f"class{i % max(1, spec.num_classes)}"
            path = images / domain / inner / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(i, spec.height, channels).save(path)
    if paired:
        how = Preparation(format="png", channels=spec.channels)
        pack(
            images,
            packed,
            preparation=how,
            channels_b=spec.channels_b,
            layout=Layout(shard_count=1),
        )
        return packed
    for domain, channels in domains.items():
        how = Preparation(format="png", channels=channels)
        pack(images / domain, packed / domain, preparation=how, layout=Layout(shard_count=1))
    return packed


def made(model, spec: DataSpec) -> np.ndarray:
    """Two images of a loaded model."""
    if hasattr(model, "translate"):
        back = model.directions[0] == "b_to_a"
        channels = spec.channels_b if back else spec.channels
        return np.asarray(model.translate(np.asarray(picture(0, 128, channels))))
    return np.asarray(model.sample(2))


@pytest.mark.slow
@pytest.mark.parametrize("name", LIVES)
def test_the_life_of_an_import(name, tmp_path):
    """Listed, written, loaded, published, fine-tuned for two iterations, resumed for one."""
    source = SOURCES[name]
    found = importing.find(source.write(tmp_path), source.wishes)
    if source.spec.channels_b and found.options.get("architecture") != "unet":
        found = replace(found, spec=replace(found.spec, height=64, width=64))
    assert f"recipe {source.recipe}" in "\n".join(found.described())
    run, tuned, folder = tmp_path / "run", tmp_path / "tuned", tmp_path / "published"
    importing.write_run(found, run)
    images = made(largegan.load(run), source.spec)
    publish.publish(restore(run), folder, None, publish.PublishOptions())
    np.testing.assert_array_equal(made(largegan.load(folder), source.spec), images)
    data = shards(tmp_path, found.spec, paired=source.recipe == "pix2pix")
    words = ["--config", run / "config.yaml", "--data.path", data, "--run.dir", tuned]
    words += ["--train.batch_size", 4, "--train.cpu_threads", 1, "--data.workers", 0]
    train.main([str(w) for w in (*words, "--run.init_from", run, "--train.total_nimg", 8)])
    train.main([str(w) for w in (*words, "--run.resume", "must", "--train.total_nimg", 12)])
    assert restore(tuned).state["nimg"] == 12
