"""What the published codes' files hold, from the arguments of their constructors: names and shapes.

Written from the papers' figures and from listings of files, not from the importers, so that a test
of these against those is one of both. `test_layouts.py` holds them to the golden cases' listings.
"""

from tests.interop.layouts.base import Shapes, tensors
from tests.interop.layouts.biggan import biggan_d, biggan_g
from tests.interop.layouts.r3gan import r3gan_d, r3gan_g
from tests.interop.layouts.studiogan import studio_d, studio_dcgan_d, studio_dcgan_g, studio_g
from tests.interop.layouts.stylegan import stylegan2_d, stylegan2_g, stylegan3_g
from tests.interop.layouts.translation import patchgan, pixel, projection, resnet, unet

__all__ = [
    "Shapes",
    "biggan_d",
    "biggan_g",
    "patchgan",
    "pixel",
    "projection",
    "r3gan_d",
    "r3gan_g",
    "resnet",
    "studio_d",
    "studio_dcgan_d",
    "studio_dcgan_g",
    "studio_g",
    "stylegan2_d",
    "stylegan2_g",
    "stylegan3_g",
    "tensors",
    "unet",
]
