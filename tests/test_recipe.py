"""Words of the vocabulary that everything else prints."""

from functools import partial

import pytest

from largegan.recipe import Phase


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
