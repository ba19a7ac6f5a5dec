"""Features against clean-fid's own pipeline with the genuine weights, and what else goes in."""

import inspect

import cleanfid.fid
import numpy as np
import pytest
import scipy.linalg
import torch
from cleanfid.inception_torchscript import InceptionV3W
from torch import nn

from largegan.errors import ConfigError, DataError, EnvironmentFault
from largegan.files.digests import sha256_of
from largegan.metrics import inception, weights
from largegan.metrics.features import (
    Backbone,
    Extractor,
    as_rgb,
    load_timm,
    open_extractor,
)
from largegan.metrics.frechet import frechet_distance
from largegan.metrics.moments import gaussian_of
from tests.evaluation.images import FORMATS, SIZES, load, picture, save, tiny_extractor


@pytest.fixture(scope="session")
def published_network(tmp_path_factory) -> InceptionV3W:
    """clean-fid's network, through its own constructor, from its own file name."""

    class WithLayers(nn.Module):
        def __init__(self, layers):
            super().__init__()
            self.layers = layers

        def forward(self, x):
            return self.layers(x)

    folder = tmp_path_factory.mktemp("weights")
    _, path = weights.require("inception-pool3")
    script = torch.jit.script(WithLayers(torch.jit.load(path, map_location="cpu")))
    script.save(folder / "inception-2015-12-05.pt")
    return InceptionV3W(str(folder), download=False).eval()


@pytest.fixture(scope="session")
def extractors() -> dict[str, Extractor]:
    """The genuine network behind both ways of resizing; loading it takes a while."""
    device = open_extractor()
    host = Extractor(device.backbone, device.network, host=True)
    return {"host": host, "device": device}


def published_features(network: InceptionV3W, folder) -> torch.Tensor:
    found = cleanfid.fid.get_folder_features(
        str(folder), network, num_workers=0, device=torch.device("cpu"), mode="clean", verbose=False
    )
    return torch.from_numpy(found)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("ending", FORMATS)
def test_features_are_those_of_cleanfid(published_network, extractors, tmp_path, size, ending):
    paths = [save(tmp_path / f"{i}.{ending}", picture(size, i)) for i in range(2)]
    published = published_features(published_network, tmp_path)
    images = [load(path) for path in paths]
    host = extractors["host"](images)
    assert torch.equal(host, published), "the host path is the published one, bit for bit"
    device = extractors["device"](torch.stack(images))
    difference = (device - published).norm() / published.norm()
    assert float(difference) < 1e-3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("ending", FORMATS)
def test_fid_is_that_of_cleanfid(
    published_network, extractors, tmp_path, monkeypatch, size, ending
):
    """Features and maths together, on images. SciPy's sqrtm lost an argument in 1.18: see frechet.

    Of 2048 features the first 24 make covariances of full rank; with all of them clean-fid's own
    root of a singular matrix is the less exact one.
    """
    if "disp" not in inspect.signature(scipy.linalg.sqrtm).parameters:
        new = scipy.linalg.sqrtm
        monkeypatch.setattr(cleanfid.fid.linalg, "sqrtm", lambda a, disp=True: (new(a), 0.0))
    sides = []
    for side in range(2):
        folder = tmp_path / str(side)
        seeds = range(100 * side, 100 * side + 32)
        paths = [save(folder / f"{seed:03d}.{ending}", picture(size, seed)) for seed in seeds]
        published = published_features(published_network, folder)
        ours = torch.cat([extractors["host"]([load(p)]) for p in paths])
        device = torch.cat([extractors["device"]([load(p)]) for p in paths])
        sides.append((published, ours, device))
    for columns, exactness in ((24, 1e-6), (2048, 1e-4)):
        theirs, mine, on_device = (
            [side[i][:, :columns].double() for side in sides] for i in range(3)
        )
        expected = cleanfid.fid.fid_from_feats(theirs[0].numpy(), theirs[1].numpy())
        score = frechet_distance(gaussian_of(theirs[0]), gaussian_of(theirs[1]))
        assert score == pytest.approx(expected, rel=exactness)
        score = frechet_distance(gaussian_of(mine[0]), gaussian_of(mine[1]))
        assert score == pytest.approx(expected, rel=1e-4), "other batches, other last bits"
        score = frechet_distance(gaussian_of(on_device[0]), gaussian_of(on_device[1]))
        assert score == pytest.approx(expected, rel=1e-3)


def test_the_package_and_the_python_network_are_the_same(published_network):
    """The network of the state dict, with the package's weights: both list layers in one order."""
    network = inception.FidInception()
    kinds = {"weight": "conv.weight", "beta": "bn.bias", "mean": "bn.running_mean"}
    kinds["var"] = "bn.running_var"
    layers = [k.removesuffix(".conv.weight") for k in network.state_dict() if "conv.weight" in k]
    state = network.state_dict()
    theirs = published_network.layers.state_dict()
    for number, (name, value) in enumerate(theirs.items()):
        ours = f"{layers[number // 4]}.{kinds[name.rpartition('.')[2]]}"
        assert state[ours].shape == value.shape
        state[ours] = value
    network.load_state_dict(state)
    images = torch.from_numpy(np.stack([picture(299, i) for i in range(2)])).permute(0, 3, 1, 2)
    with torch.no_grad():
        features = inception.Pool3(network.eval())(images.float())
        expected = published_network(images.float())
    assert float((features - expected).abs().max()) < 1e-4


def test_channels():
    gray = torch.arange(4, dtype=torch.uint8).reshape(1, 1, 2, 2)
    assert (as_rgb(gray) == gray).all() and as_rgb(gray).shape == (1, 3, 2, 2)
    clear = torch.tensor([10, 20, 30, 0], dtype=torch.uint8).reshape(1, 4, 1, 1)
    assert (as_rgb(clear) == 255).all(), "transparent is white"
    half = torch.tensor([0, 100, 255, 51], dtype=torch.uint8).reshape(4, 1, 1)
    assert as_rgb(half).flatten().tolist() == [204, 224, 255]
    with pytest.raises(DataError, match="2 channels"):
        as_rgb(torch.zeros(1, 2, 4, 4, dtype=torch.uint8))
    with pytest.raises(DataError, match="8-bit"):
        as_rgb(torch.zeros(1, 3, 4, 4))


def test_images_of_several_sizes_in_one_batch():
    extractor = tiny_extractor()
    images = [torch.from_numpy(picture(s, 1)).permute(2, 0, 1) for s in (20, 20, (40, 33))]
    together = extractor(images)
    for image, features in zip(images, together, strict=True):
        assert torch.allclose(extractor([image])[0], features, rtol=1e-5)
    with pytest.raises(DataError, match="no images"):
        extractor([])


def test_host_and_device_agree_on_grey_and_alpha():
    for channels in (1, 4):
        image = torch.from_numpy(picture((30, 50), 3)).permute(2, 0, 1)
        image = torch.cat([image, image])[:channels]
        host, device = tiny_extractor(host=True)([image]), tiny_extractor()([image])
        assert torch.allclose(host, device, rtol=1e-3)


def test_timm_backbone_is_named_and_has_logits():
    extractor = open_extractor("efficientnet_lite0")
    assert extractor.backbone.title("FID") == "FD-efficientnet_lite0"
    assert extractor.backbone.title("KID") == "KD-efficientnet_lite0"
    assert Backbone("inception", "", 2048, 299).title("FID") == "FID"
    features = extractor(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    assert features.shape == (1, extractor.backbone.dim) == (1, 1280)
    assert extractor.logits(features).shape == (1, 1000)


def test_timm_weights_that_a_person_staged(tmp_path):
    import timm
    from safetensors.torch import save_file

    with pytest.raises(EnvironmentFault, match=r"mobilenetv3_small_050\.safetensors"):
        open_extractor("mobilenetv3_small_050", folder=tmp_path)
    model = timm.create_model("mobilenetv3_small_050")
    save_file(model.state_dict(), tmp_path / "mobilenetv3_small_050.safetensors")
    extractor = open_extractor("mobilenetv3_small_050", folder=tmp_path)
    digest = sha256_of(tmp_path / "mobilenetv3_small_050.safetensors")
    assert extractor.backbone.sha256 == digest
    torch.save({"a": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(DataError, match="does not fit"):
        load_timm(model, tmp_path / "other.pth")
    (tmp_path / "other.pth").write_bytes(b"nothing")
    with pytest.raises(DataError, match="cannot be read"):
        load_timm(model, tmp_path / "other.pth")


def test_unknown_network():
    with pytest.raises(ConfigError, match="no feature network 'incption'"):
        open_extractor("incption")


def test_inception_score_needs_the_file_with_the_classifier(tmp_path, monkeypatch):
    monkeypatch.setenv("LARGEGAN_WEIGHTS", str(tmp_path))
    with pytest.raises(EnvironmentFault, match="fetch inception-logits"):
        open_extractor(logits=True)
    assert open_extractor().logits(torch.zeros(1, 2048)) is None
