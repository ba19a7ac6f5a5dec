"""The pool of fakes: what it hands back, what it keeps, and that splitting a batch is no matter."""

import pytest
import torch

from largegan.layers.image_pool import ImagePool

SHAPE = (1, 2, 2)


def numbered(*numbers: int) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float32)[:, None, None, None].expand(-1, *SHAPE)


def numbers(images: torch.Tensor) -> list[int]:
    return [int(n) for n in images[:, 0, 0, 0]]


def step(pool: ImagePool, images: torch.Tensor, *, parts: int = 1) -> list[int]:
    """One optimizer step's exchange, the batch in `parts` micro-batches."""
    out, first = [], 0
    for part in images.chunk(parts):
        out += numbers(pool.exchange(part, first=first))
        first += len(part)
    pool.absorb_pending()
    return out


def make(size: int, batch_size: int) -> ImagePool:
    pool = ImagePool(size, SHAPE)
    pool.set_batch_size(batch_size)
    return pool


def test_it_fills_up_and_hands_everything_back_until_then():
    pool = make(3, 2)
    assert step(pool, numbered(1, 2)) == [1, 2]
    assert int(pool.count) == 2 and numbers(pool.images) == [1, 2, 0]
    assert step(pool, numbered(3, 4)) == [3, 4]
    assert int(pool.count) == 3 and numbers(pool.images) == [1, 2, 3], "no room for the fourth"


def test_a_full_pool_trades_every_other_image():
    """At batch size 1, the published algorithm: p = 1/2, a random old image for the new one."""
    torch.manual_seed(0)
    pool = make(5, 1)
    kept, traded = set(range(5)), 0
    for i in range(5):
        step(pool, numbered(i))
    for new in range(5, 2005):
        (got,) = step(pool, numbered(new))
        if got != new:
            traded += 1
            assert got in kept, "what comes back was in the pool"
            kept = kept - {got} | {new}
        assert set(numbers(pool.images)) == kept
    assert 900 < traded < 1100


def test_old_images_are_chosen_evenly():
    torch.manual_seed(0)
    pool = make(4, 1)
    for i in range(4):
        step(pool, numbered(i))
    ages = []
    for new in range(4, 3004):
        (got,) = step(pool, numbered(new))
        if got != new:
            ages.append(new - got)
    # A place is overwritten once in 2 x 4 steps: ages are geometric with that mean.
    assert 7 < sum(ages) / len(ages) < 9


@pytest.mark.parametrize("parts", [2, 4])
def test_splitting_a_batch_stores_the_same(parts, monkeypatch):
    """What is stored, and where, follows the order of the global batch."""
    monkeypatch.setattr(torch, "rand", lambda n, **_: torch.zeros(n))
    monkeypatch.setattr(torch, "randint", lambda low, high, shape, **_: torch.ones(shape).long())
    whole, split = make(6, 4), make(6, 4)
    for k in range(4):
        batch = numbered(*range(10 * k, 10 * k + 4))
        assert step(whole, batch) == step(split, batch, parts=parts)
        assert torch.equal(whole.images, split.images)
    assert numbers(whole.images)[1] == 33, "of several for one place the last one stays"


def test_a_skipped_step_stores_nothing():
    """The trainer restores buffers after a bad step: `pending` is empty again then."""
    pool = make(3, 2)
    pool.exchange(numbered(1, 2), first=0)
    pool.pending.zero_()
    pool.absorb_pending()
    assert int(pool.count) == 0 and not pool.images.any()


def test_size_zero_is_no_pool():
    pool = make(0, 2)
    images = numbered(1, 2)
    assert pool.exchange(images, first=0) is images
    pool.absorb_pending()


def test_checkpoints_hold_images_and_count():
    pool = make(3, 2)
    assert list(pool.state_dict()) == ["images", "count"]
    step(pool, numbered(7, 8))
    other = make(3, 1)
    other.load_state_dict(pool.state_dict())
    assert numbers(other.images) == [7, 8, 0] and int(other.count) == 2
