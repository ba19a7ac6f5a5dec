"""Classification accuracy score: what a classifier learns from generated images about real ones.

Ravuri & Vinyals, "Classification Accuracy Score for Conditional Generative Models", 2019: train on
samples of a class-conditional generator, test on real images. Missing modes and wrong classes both
cost accuracy, which no distance of features sees.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from largegan.errors import ConfigError
from largegan.metrics.side import Settings, Side, both_labels, small_images

LARGEST = 64  # pixels
Read = Callable[[Tensor], Tensor]  # numbers of images -> uint8 `[N, 3, H, W]`, all of one size


def classification_accuracy(
    read_train: Read,
    train_labels: Tensor,
    read_test: Read,
    test_labels: Tensor,
    *,
    model: str = "resnet18",
    epochs: int = 20,
    batch: int = 128,
    lr: float = 0.1,
    mirror: bool = True,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> float:
    """The fraction of test images that a timm classifier trained on the others gets right.

    Args:
        read_train, read_test: images by number.
        train_labels, test_labels: int64 `[N]`, `[M]`, of the same classes.
        model: a timm architecture, trained from random weights.
        epochs: passes over the training images; Nesterov SGD with a cosine to zero.
        lr: for batches of 128; scaled with the batch.
        mirror: flip training images at random.
        seed: of weights and order; training elsewhere is not disturbed.
        device: where it trains.
    """
    import timm

    if not timm.is_model(model):
        raise ConfigError(f"there is no timm model {model!r} to classify with")
    classes = int(max(train_labels.max(), test_labels.max())) + 1
    device = torch.device(device)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        net = timm.create_model(model, pretrained=False, num_classes=classes).to(device)
        steps = max(1, epochs * (len(train_labels) // batch))
        optimizer = torch.optim.SGD(
            net.parameters(), lr * batch / 128, momentum=0.9, nesterov=True, weight_decay=5e-4
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        net.train()
        for numbers in _order(len(train_labels), batch, steps):
            images = _normalized(read_train(numbers), device)
            if mirror:
                flip = torch.rand(len(images), 1, 1, 1, device=device) < 0.5
                images = torch.where(flip, images.flip(3), images)
            loss = F.cross_entropy(net(images), train_labels[numbers].to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        return _accuracy(net.eval(), read_test, test_labels, batch, device)


def _order(count: int, batch: int, steps: int):
    """Numbers of each step's images: every image once before any comes again."""
    pool = torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        while len(pool) < batch:
            pool = torch.cat([pool, torch.randperm(count)])
        yield pool[:batch]
        pool = pool[batch:]


@torch.no_grad()
def _accuracy(
    net: nn.Module, read: Read, labels: Tensor, batch: int, device: torch.device
) -> float:
    right = 0
    for numbers in torch.arange(len(labels)).split(batch):
        found = net(_normalized(read(numbers), device)).argmax(1).cpu()
        right += int((found == labels[numbers]).sum())
    return right / len(labels)


def _normalized(images: Tensor, device: torch.device) -> Tensor:
    return images.to(device).float() / 127.5 - 1


def cas(reference: Side, generated: Side, settings: Settings) -> dict[str, float]:
    """The row `cas`. Larger images are made 64 pixels small: classes differ visibly there."""
    what = "a classification accuracy"
    real_labels, fake_labels = both_labels(reference, generated, what)
    if reference.images is None or generated.images is None:
        raise ConfigError(f"{what} looks at images, and a file of statistics has none")
    size = min(LARGEST, *reference.images.read(0, 1)[0].shape[1:])
    fake, real = (small_images(side.images, size) for side in (generated, reference))
    accuracy = classification_accuracy(
        lambda numbers: fake[numbers],
        torch.tensor(fake_labels),
        lambda numbers: real[numbers],
        torch.tensor(real_labels),
    )
    return {"cas": accuracy}
