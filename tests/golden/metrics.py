"""clean-fid's, torch-fidelity's and NVIDIA's metrics: every number from our own functions."""

import math
import re
import zlib

import numpy as np
import torch
from torch import Tensor

from largegan.losses import gaussian_mmd2
from largegan.metrics.frechet import frechet_distance, frechet_of_features
from largegan.metrics.inception import Classifier, FidInception, Pool3
from largegan.metrics.inception_score import inception_score
from largegan.metrics.kid import kernel_distance
from largegan.metrics.mind import directions_and_subset, mind_estimate
from largegan.metrics.moments import gaussian_of
from largegan.metrics.path_length import (
    along_arc,
    along_unit_arc,
    path_lengths,
    straight,
    within_percentiles,
)
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


def check_more(case: Case) -> None:
    """Path lengths, sliced transport, other kernels and subsets, the two rules of manifolds."""
    args = case.meta["args"]
    check_paths(case)
    real, fake = case.input("feat_real"), case.input("feat_fake")
    count = args["mind_num_projections"]
    for name in sorted(n for n in case.outputs() if n.startswith("mind_seed")):
        seed = int(name.removeprefix("mind_seed"))
        case.check(name, torch.tensor([mind_estimate(real, fake, count=count, seed=seed)]))
    directions, subset = directions_and_subset(len(real), len(fake), real.shape[1], count=count)
    torch.testing.assert_close(directions, case.input("mind_directions"))
    assert torch.equal(subset, case.input("mind_subset"))
    pairs = list(zip(case.input("kid_subsets_fake"), case.input("kid_subsets_real"), strict=True))
    check_subsets(case, "kid_poly", [kernel_distance(real[r], fake[f]) for f, r in pairs])
    rbf = [
        gaussian_mmd2(real[r].double(), fake[f].double(), [16.0], biased=False) for f, r in pairs
    ]
    check_subsets(case, "kid_rbf", [float(value) for value in rbf])
    for k in args["k"]:
        found = precision_recall_density_coverage(real, fake, k=k)
        case.check(f"prdc_k{k}", torch.tensor(list(vars(found).values())))
        precision, recall = found.precision, found.recall
        f_score = 2 * precision * recall / (precision + recall)
        case.check(f"prc_tf_k{k}", torch.tensor([precision, recall, f_score]))
    logits = case.input("logits")
    shuffled = logits[np.random.RandomState(2020).permutation(len(logits))]
    case.check("isc_shuffled", torch.tensor(inception_score(shuffled, splits=5)))


def check_subsets(case: Case, name: str, values: list[float]) -> None:
    found = torch.tensor([np.mean(values), np.std(values)])
    case.check(f"{name}_{len(values)}subsets", found)


def check_paths(case: Case) -> None:
    a, b = case.input("a").double(), case.input("b").double()
    paths = {"lerp": straight, "slerp_any": along_arc, "slerp_unit": along_unit_arc}
    for name in sorted(case.outputs()):
        kind, _, t = name.rpartition("_")
        if kind in paths:
            case.check(name, paths[kind](a, b, float(t)))
    case.check("normalize_last_dim", torch.nn.functional.normalize(a, dim=-1))
    w = case.input("w").double()
    low, high = case.meta["args"]["ppl_percentiles"]
    for kind, step in (("lerp", 0.1), ("slerp_any", 0.05)):
        lengths = path_lengths(
            lambda z: torch.tanh(z @ w).reshape(-1, 3, 2, 2),
            lambda x, y: (x - y).square().flatten(1).sum(1),
            case.input("z0").double(),
            case.input("z1").double(),
            path=paths[kind],
            step=step,
        )
        found = within_percentiles(lengths, low=low, high=high)
        case.check(f"ppl_{kind}_kept", found.kept)
        case.check(f"ppl_{kind}_mean", torch.tensor([found.mean]))
        case.check(f"ppl_{kind}_std", torch.tensor([found.deviation]))


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
