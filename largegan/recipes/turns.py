"""Whose turn it is when two players move as in most papers: the discriminator first."""

from collections.abc import Callable

from largegan.recipe import Batch, Phase, Progress, Terms

Loss = Callable[[Batch, Progress], Terms]


def d_then_g(
    discriminator: Loss,
    generator: Loss,
    *,
    d_steps: int = 1,
    second_order: bool = False,
    after: Callable[[], None] | None = None,
) -> list[Phase]:
    """`d_steps` steps of D, each on new images, then one of G beside the last of them.

    Goodfellow et al., 2014, Algorithm 1, whose k is `d_steps`. `second_order` and `after` are those
    of D's phase.
    """
    return [
        Phase("D", discriminator, repeat=d_steps, second_order=second_order, after=after),
        Phase("G", generator, fresh=False),
    ]
