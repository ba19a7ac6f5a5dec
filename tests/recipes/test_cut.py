"""What is CUT's own, besides the golden cases: FastCUT's mirrored images."""

import torch

from largegan.recipes.cut import mirrored
from tests.recipes.common import make_recipe


def test_mirrored_outputs_are_compared_mirrored_back():
    """Where features are the images, a mirrored output is as good as the source itself."""
    recipe = make_recipe("cut")
    recipe.G.features = lambda images, layers: [images.repeat(1, 3, 1, 1)[:, :8]] * len(layers)
    recipe.F.mlps = torch.nn.ModuleList(torch.nn.Identity() for _ in recipe.nce_layers)
    source = torch.randn(4, 3, 16, 16)
    some = torch.arange(len(source)) % 2 == 0

    def contrast(output, flipped):
        torch.manual_seed(0)  # the same places
        return recipe.contrast(source, output, flipped)

    perfect = contrast(source, None)
    torch.testing.assert_close(contrast(mirrored(source, some), some), perfect)
    assert contrast(mirrored(source, some), None) > perfect + 0.01
