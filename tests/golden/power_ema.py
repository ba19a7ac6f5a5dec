"""Averages by powers of time, as EDM2 computes them: formulas, recursions and reconstructions."""

import numpy as np
import torch
from torch import Tensor, nn

from largegan.ema import Ema
from largegan.ema import powers as power_ema
from largegan.ema.powers import PowerEma, gamma_of_width
from largegan.recipe import Progress
from tests.golden.goldcheck import Case

GAMMAS = (0.5, 1, 2, 6.94, 16.97, 40)  # of `std_of_exp`
BATCHES = (1, 2, 10, 1000)  # of `beta`


class Flat(nn.Module):
    """A network whose parameters are one vector."""

    def __init__(self, values: Tensor):
        super().__init__()
        self.values = nn.Parameter(values.clone())


def check(case: Case) -> None:
    check_formulas(case)
    snapshots = check_recursions(case)
    check_reconstruction(case, snapshots)


def check_formulas(case: Case) -> None:
    args = case.meta["args"]
    stds, targets, batch = args["stds"], args["out_stds"], args["batch"]
    gammas = {std: gamma_of_width(std) for std in (*stds, *targets)}
    case.check("exp_of_std", torch.tensor(list(gammas.values()), dtype=torch.float64))
    case.check("std_of_exp", torch.tensor([power_ema.width_of_gamma(g) for g in GAMMAS]).double())
    rows = [[power_ema.power_beta(gammas[std], n * batch, batch) for n in BATCHES] for std in stds]
    case.check("beta", torch.tensor(rows, dtype=torch.float64))
    columns = [power_ema.profile(50, gammas[stds[0]], 120)]
    columns += [power_ema.profile(100, gammas[targets[-1]], 120)]
    case.check("response", torch.from_numpy(np.stack(columns, axis=1)))
    pairs = [  # (images, std) of both averages
        (100, stds[0], 100, stds[0]),
        (100, stds[0], 200, stds[-1]),
        (300, stds[-1], 300, stds[0]),
        (700, 0.2, 500, 0.05),
    ]
    found = [
        power_ema.correlation(np.float64(a), gamma_of_width(s), np.float64(b), gamma_of_width(u))
        for a, s, b, u in pairs
    ]
    case.check("correlation", torch.tensor(np.array(found)))


def check_recursions(case: Case) -> Tensor:
    """Follows the case's trajectory; returns the snapshots `[times, stds, parameters]`."""
    args, trajectory = case.meta["args"], case.input("trajectory")
    net = Flat(trajectory[0])
    powers = [PowerEma(net, std) for std in args["stds"]]
    direct = [PowerEma(net.double(), std) for std in args["out_stds"]]
    net.float()
    traditional = Ema(net, halflife_nimg=args["traditional_halflife_images"], rampup=args["rampup"])
    snapshots, batch = [], args["batch"]
    for step, values in enumerate(trajectory, 1):
        nimg = step * batch
        now, precise = Flat(values), Flat(values.double())
        for power in powers:
            power.update(now, nimg, batch)
        for power in direct:
            power.update(precise, nimg, batch)
        traditional.update(now, Progress(step, nimg), batch)
        if step in args["snapshots_after"]:
            snapshots.append(torch.stack([p.net.values.detach().clone() for p in powers]))
    case.check("power_ema_snapshots", torch.stack(snapshots))
    case.check("power_ema_final", torch.stack([p.net.values for p in powers]))
    case.check("traditional_ema_final", traditional.net.values)
    case.check("direct_ema_out_std", torch.stack([p.net.values for p in direct]))
    return torch.stack(snapshots)


def check_reconstruction(case: Case, snapshots: Tensor) -> None:
    args = case.meta["args"]
    taken = [step * args["batch"] for step in args["snapshots_after"]]
    targets = [gamma_of_width(std) for std in args["out_stds"]]

    def weights(times: list[int]) -> np.ndarray:
        of_time = [t for t in times for _ in args["stds"]]
        gammas = [gamma_of_width(std) for _ in times for std in args["stds"]]
        return power_ema.mixture(of_time, gammas, times[-1], targets)

    found = weights(taken)
    case.check("posthoc_coefs", torch.from_numpy(found))
    flat = list(snapshots.flatten(0, 1))
    case.check(
        "posthoc_weights", torch.stack([power_ema.combined(flat, column) for column in found.T])
    )
    case.check("posthoc_coefs_mid", torch.from_numpy(weights(taken[: len(taken) // 2 + 1])))
