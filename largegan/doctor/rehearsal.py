"""What training does besides steps, once: trackers, scores, and a checkpoint there and back."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from largegan import checkpoint
from largegan.doctor.disk import nearest_folder, readable
from largegan.doctor.finding import Finding, Visit
from largegan.parallel.launch import agree, together
from largegan.run import directory
from largegan.run.data import framing_of

IMAGES = 8  # drawn and looked at by the network of the scores


def check_trackers(visit: Visit) -> Iterator[Finding]:
    """Whether their packages are here. No run is begun in them."""
    if not visit.config or not (names := visit.config.log.trackers):
        return
    from largegan.run.trackers import missing_trackers

    missing = missing_trackers(names)
    if missing:
        facts = f"log.trackers names {', '.join(sorted(missing))}, which is not installed"
        yield Finding("FAIL", "trackers", facts, "install it or leave it out")
    else:
        yield Finding("ok", "trackers", ", ".join(names))


def check_evaluation(visit: Visit) -> Iterator[Finding]:
    """The network's weights are here, and it looks at images that the recipe draws."""
    if visit.trainer is None or visit.config.evaluate.every_nimg is None:
        return
    from largegan.evaluation import during_training as training
    from largegan.evaluation import scores
    from largegan.evaluation.image_sets import Drawn, images_of_source
    from largegan.sampler import Sampler

    settings, recipe = visit.config.evaluate, visit.recipe
    sampler = Sampler(recipe, visit.spec, (), visit.device, tuple(range(recipe.num_classes)))
    training.refuse_numbers(sampler)
    extractor = training.open_training_extractor(settings, visit.world)
    data, count = visit.config.data, settings.reference_count
    real = partial(images_of_source, visit.source, framing_of(data), count=count, path=data.path)
    reference = training.open_reference(settings, visit.world, real)
    start = time.perf_counter()
    with visit.trainer.engine.whole():
        drawn = Drawn(sampler, range(IMAGES * visit.size), {"kind": "checkpoint"})
        scores.extract(drawn, extractor, visit.world, batch=IMAGES, features=True)
    seconds = time.perf_counter() - start
    facts = f"{extractor.backbone.name} looks at {IMAGES} images in {seconds:.1f} s"
    yield Finding("ok", "evaluation", f"{facts}; the reference is {reference}")


def check_checkpoint(visit: Visit) -> Iterator[Finding]:
    """Saves what the steps have made, beside where the run will be, and restores it."""
    if visit.trainer is None:
        return
    settings = visit.config.run
    run = Path(settings.dir) if settings.dir else directory.fresh_name(visit.config)
    folder = Path(agree(visit.world, lambda: new_folder(nearest_folder(run))))
    try:
        yield there_and_back(visit, folder)
    finally:
        together(visit.world, lambda: None)  # nobody reads it any more
        if visit.rank == 0:
            shutil.rmtree(folder, ignore_errors=True)


def new_folder(place: Path) -> str:
    return tempfile.mkdtemp(prefix=".largegan-doctor-", dir=place)


def there_and_back(visit: Visit, folder: Path) -> Finding:
    trainer, start = visit.trainer, time.perf_counter()
    engine = trainer.engine
    content = checkpoint.Checkpoint(
        checkpoint.on_host(engine.model_state()),
        checkpoint.on_host(engine.optimizer_state()),
        trainer.state_dict(),
    )
    path = agree(visit.world, lambda: checkpoint.save(folder, 1, content))
    seconds = time.perf_counter() - start
    found = checkpoint.load(path)
    engine.load_model_state(found.model)
    engine.load_optimizer_state(found.optimizer)
    again = engine.model_state() | engine.optimizer_state()
    lost = [
        name
        for name, tensor in (content.model | content.optimizer).items()
        if not torch.equal(again[name].cpu(), tensor)
    ]
    if lost:
        facts = f"{lost[0]} is not what was saved"
        return Finding("FAIL", "checkpoint", facts, "please report it with this line")
    size = readable(sum(t.nbytes for t in (content.model | content.optimizer).values()))
    where = f"{size} saved in {seconds:.1f} s in {folder.parent}" if visit.rank == 0 else "read"
    return Finding("ok", "checkpoint", f"{where}, and restored")
