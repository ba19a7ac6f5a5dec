"""A generator that learns beside an encoder: both are averaged."""

from largegan.ema import Ema
from largegan.recipe import Progress, by_averages_alone
from largegan.recipes.noise_to_image import NoiseToImage


class WithEncoder(NoiseToImage):
    """Beside the generator an encoder `E` and its average `E_ema`; a subclass builds them."""

    E_ema: Ema

    @by_averages_alone
    def after_iteration(self, at: Progress, batch_size: int) -> None:
        super().after_iteration(at, batch_size)
        self.E_ema.update(self.E, at, batch_size)
