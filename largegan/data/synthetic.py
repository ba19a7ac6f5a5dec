"""Data that need no files: the one-dimensional target of the classic toy GAN."""

import numpy as np
import torch

from largegan.data.index import DataInfo
from largegan.data.plan import mix
from largegan.data.policy import SkipPolicy

COUNT, PART = 1 << 20, 1 << 12


class GaussianSource:
    """``{"x": float32 [n, 1] ~ N(4, 1.25^2), "index": int64 [n]}``."""

    mean, std = 4.0, 1.25

    def __init__(self) -> None:
        self.info = DataInfo(COUNT, 1, 1, 1, 0, (), (), "synthetic:gaussian:1")
        self.counts = np.full(
            COUNT // PART, PART
        )  # as if in shards, so that order is laid out lazily
        self.policy = SkipPolicy(total=COUNT)

    def read(self, indices: np.ndarray) -> dict[str, torch.Tensor]:
        """ "x" float32 [n, 1] and "index": number i is the same whoever asks."""
        indices = np.asarray(indices, dtype=np.int64)
        # 53 random bits and a half: never 0 or 1, where the quantile is infinite.
        uniform = ((mix(indices, seed=0) >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53
        normal = torch.special.ndtri(torch.from_numpy(uniform))
        x = (self.mean + self.std * normal).float()[:, None]  # [n, 1]
        return {"x": x, "index": torch.from_numpy(indices)}


SYNTHETIC = {"gaussian": GaussianSource}
