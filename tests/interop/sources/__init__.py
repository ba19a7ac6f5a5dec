"""Files of every published kind, made from arguments, and what an import of them has to know."""

from tests.interop.sources.base import Source
from tests.interop.sources.biggan import BIGGAN
from tests.interop.sources.r3gan import R3GAN
from tests.interop.sources.studiogan import STUDIOGAN
from tests.interop.sources.stylegan import STYLEGAN2, STYLEGAN3
from tests.interop.sources.translation import TRANSLATORS

SOURCES: dict[str, Source] = {
    **STYLEGAN2,
    **STYLEGAN3,
    **R3GAN,
    **BIGGAN,
    **TRANSLATORS,
    **STUDIOGAN,
}
