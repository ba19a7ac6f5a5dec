"""clean-fid's, torch-fidelity's and NVIDIA's metrics: every number from our own functions."""

import math
import re
import zlib

import numpy as np
import torch
from torch import Tensor

from largegan.metrics.frechet import frechet_distance, frechet_of_features
from largegan.metrics.inception import Classifier, FidInception, Pool3
from largegan.metrics.inception_score import inception_score
from largegan.metrics.kid import kernel_distance
from largegan.metrics.moments import gaussian_of
from largegan.metrics.prdc import precision_recall_density_coverage
from largegan.metrics.resize import (
    device_resize,
    host_resize,
    tensorflow_bilinear,
    torch_bilinear,
)
from tests.golden.goldcheck import Case


def check(case: Case) -> None:
    """Distances of features, the inception score of logits, resized images."""
    check_distances(case)
    check_manifolds(case)
    check_resized(case)
    logits = case.input("logits")
    mean, deviation = inception_score(logits, splits=10)
    case.check("isc_mean", torch.tensor([mean]))
    case.check("isc_std", torch.tensor([deviation]))
    case.check("isc_1split", torch.tensor([inception_score(logits, splits=1)[0]]))


def check_distances(case: Case) -> None:
    real, fake = case.input("feat_real"), case.input("feat_fake")
    distance = frechet_distance(gaussian_of(real), gaussian_of(fake))
    assert abs(distance - frechet_of_features(real, fake)) < 1e-8 * max(distance, 1)
    case.check("fid_cleanfid", torch.tensor([distance]))
    case.check("fid_torchfidelity", torch.tensor([distance]))
    fewest = min(len(real), len(fake))
    kid = torch.tensor([kernel_distance(real[:fewest], fake[:fewest])])
    case.check("kid_cleanfid_firstm", kid)
    case.check("kid_torchfidelity_1subset_full", kid)


def check_manifolds(case: Case) -> None:
    real, fake = case.input("feat_real"), case.input("feat_fake")
    three = precision_recall_density_coverage(real, fake, k=3)
    for name in ("precision", "recall"):
        value = torch.tensor([getattr(three, name)])
        case.check(f"{name}_tf", value)
        case.check(f"nv_{name}_k3", value)
    five = precision_recall_density_coverage(real, fake, k=5)
    for name in ("precision", "recall", "density", "coverage"):
        case.check(f"prdc_{name}", torch.tensor([getattr(five, name)]))


def check_resized(case: Case) -> None:
    """By name: clean_resize_WxH of the first image; the square sizes of the second, square one.

    Of large results the file keeps the upper left corner.
    """
    first, second = case.input("image_u8").numpy(), case.input("image2_u8").numpy()
    planes = torch.from_numpy(second).permute(2, 0, 1)[None]
    for name in sorted(case.outputs()):
        if found := re.fullmatch(r"clean_resize_(?:(\d+)x(\d+)|(?:down|up)_(\d+))", name):
            width, height, side = (int(part or 0) for part in found.groups())
            if width:
                check_clean(case, name, first, (height, width))
            else:
                check_clean(case, name, second, (side, side))
        elif found := re.fullmatch(r"pytorch_bilinear_(\d+)", name):
            resized = torch_bilinear(planes, (int(found[1]),) * 2)
            case.check(name, resized[0].permute(1, 2, 0))
        elif found := re.fullmatch(r"pil_quant_(\w+)_(\d+)", name):
            resized = host_resize(second, (int(found[2]),) * 2, filter=found[1], rounded=True)
            check_equal(case, name, torch.from_numpy(resized))
        elif found := re.fullmatch(r"tf1_bilinear_(\d+)", name):
            case.check(name, tensorflow_bilinear(planes.double(), (int(found[1]),) * 2))


def check_clean(case: Case, name: str, image: np.ndarray, size: tuple[int, int]) -> None:
    """On the host against the file, on the device against the host."""
    rows, columns = case.expected(name).shape[:2]
    host = torch.from_numpy(host_resize(image, size))
    device = device_resize(torch.from_numpy(image).permute(2, 0, 1)[None], size)
    assert float((host - device[0].permute(1, 2, 0)).abs().max()) < 1e-3
    case.check(name, host[:rows, :columns])


def check_equal(case: Case, name: str, got: Tensor) -> None:
    """Integer outputs have no tolerance."""
    case.checked.add(name)
    if not torch.equal(got, case.expected(name)):
        case.failures.append(f"{name}: not the same integers")


def filled(network: FidInception, procfill: dict) -> FidInception:
    """Weights from their names, by the rules of the case: (pattern, kind, mean, deviation)."""
    state = network.state_dict()
    for key, value in state.items():
        kind, mean, deviation = next(r[1:] for r in procfill["rules"] if re.search(r[0], key))
        if kind == "keep":
            continue
        seed = zlib.crc32(f"{procfill['seed']['inception']}/{key}".encode()) & 0x7FFFFFFF
        noise = np.random.RandomState(seed).standard_normal(tuple(value.shape))
        if kind == "fan":
            fan = int(np.prod(value.shape[1:])) if value.ndim > 1 else value.numel()
            noise = deviation / math.sqrt(fan) * noise
        elif kind == "normal":
            noise = mean + deviation * noise
        else:
            noise = mean * np.exp(deviation * noise)
        state[key] = torch.from_numpy(noise.astype(np.float32))
    network.load_state_dict(state)
    return network.eval()


@torch.no_grad()
def check_inception(case: Case) -> None:
    """The network itself: features of four stages and logits, behind two rules of resizing."""
    network = filled(FidInception(), case.meta["procfill"])
    images = case.input("images_u8").float()
    resized = tensorflow_bilinear(images, (299, 299))
    stages = network((resized - 128) / 128)
    for width, features in stages.items():
        case.check(f"feat_{width}", features)
    case.check("feat_logits", network.logits(stages[2048]))
    case.check("feat_logits_unbiased", Classifier(network)(stages[2048]))
    assert torch.equal(Pool3(network)(resized), stages[2048])
    bilinear = torch_bilinear(images, (299, 299))
    case.check("cleanfid_2048_pytorch_bilinear", network(2 * bilinear / 255 - 1)[2048])
