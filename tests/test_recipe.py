"""Words of the vocabulary that everything else prints."""

import inspect
from functools import partial

import pytest

from largegan import recipe
from largegan.recipe import Phase
from tests.recipes.common import NAMES, make_recipe


def _critic(batch, at, weight=1.0):
    return {}


class Critic:
    def __call__(self, batch, at):
        return {}

    def critic(self, batch, at):
        return {}


@pytest.mark.parametrize(
    ("loss", "name"),
    [
        (_critic, "D.critic"),
        (Critic().critic, "D.critic"),
        (partial(_critic, weight=2.0), "D.critic"),
        (partial(partial(Critic().critic), at=None), "D.critic"),
        (Critic(), "D.Critic"),
    ],
    ids=["function", "method", "partial function", "twice partial", "object"],
)
def test_every_loss_gives_its_phase_a_name(loss, name):
    assert Phase("D", loss).name == name


LAYERS = (recipe.CountsMicroBatches, recipe.SumsOverBatch, recipe.AveragesOverRanks)


@pytest.mark.parametrize("name", NAMES)
def test_layers_that_ask_for_something_are_found_in_every_python(name):
    """From 3.12 on `isinstance` of a protocol sees nothing that `nn.Module` keeps by itself."""
    for module in make_recipe(name).modules():
        for protocol in LAYERS:
            members = {m for m in vars(protocol) | protocol.__annotations__ if m[0] != "_"}
            if all(hasattr(module, member) for member in members):
                for member in members:
                    inspect.getattr_static(module, member)
