"""The last layer of a discriminator: features to logits, with classes by projection."""

from functools import partial

from torch import Tensor, nn

from largegan.layers.spectral_norm import SNEmbedding, SNLinear, Spectral


class ProjectionHead(nn.Module):
    """Features `[N, C]` (and labels `[N]`) -> logits `[N]`.

    `score(h) + <embed(y), h>` (Miyato & Koyama, 2018, Eq. 4); without classes the second term is
    not there. `spectral` normalizes both maps; None leaves them plain.
    """

    def __init__(self, features: int, *, num_classes: int = 0, spectral: Spectral | None = None):
        super().__init__()
        linear, embedding = nn.Linear, nn.Embedding
        if spectral:
            linear = partial(SNLinear, spectral=spectral)
            embedding = partial(SNEmbedding, spectral=spectral)
        self.score = linear(features, 1)
        self.embed = embedding(num_classes, features) if num_classes else None

    def forward(self, h: Tensor, labels: Tensor | None = None) -> Tensor:
        logits = self.score(h).squeeze(1)
        return logits if self.embed is None else logits + (self.embed(labels) * h).sum(1)
