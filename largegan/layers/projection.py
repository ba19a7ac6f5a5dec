"""The last layer of a discriminator: features to logits, with classes by projection."""

from torch import Tensor, nn

from largegan.layers.spectral_norm import SNEmbedding, SNLinear


class ProjectionHead(nn.Module):
    """Features `[N, C]` (and labels `[N]`) -> logits `[N]`.

    `score(h) + <embed(y), h>` (Miyato & Koyama, 2018, Eq. 4); without classes the second term is
    not there.
    """

    def __init__(self, features: int, *, num_classes: int = 0, spectral_norm: bool = False):
        super().__init__()
        self.score = (SNLinear if spectral_norm else nn.Linear)(features, 1)
        embedding = SNEmbedding if spectral_norm else nn.Embedding
        self.embed = embedding(num_classes, features) if num_classes else None

    def forward(self, h: Tensor, labels: Tensor | None = None) -> Tensor:
        logits = self.score(h).squeeze(1)
        return logits if self.embed is None else logits + (self.embed(labels) * h).sum(1)
