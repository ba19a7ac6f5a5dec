"""What training does besides steps, once: trackers, scores, and a checkpoint there and back."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from largegan.doctor.disk import nearest_folder, readable
from largegan.doctor.finding import Finding, Visit
from largegan.parallel.launch import agree, together
from largegan.run import directory
from largegan.run.data import framing_of
from largegan.run.saver import there_and_back


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
    from largegan.run.scoring import TRIED, rehearse  # imports timm: seconds

    framing = framing_of(visit.config.data)
    found = rehearse(visit.config, visit.trainer, visit.spec, visit.source, framing, visit.world)
    facts = f"{found.network} looks at {TRIED} images in {found.seconds:.1f} s"
    yield Finding("ok", "evaluation", f"{facts}; the reference is {found.reference}")


def check_checkpoint(visit: Visit) -> Iterator[Finding]:
    """Saves what the steps have made, beside where the run will be, and restores it."""
    if visit.trainer is None:
        return
    settings = visit.config.run
    run = Path(settings.dir) if settings.dir else directory.fresh_name(visit.config)
    folder = Path(agree(visit.world, lambda: new_folder(nearest_folder(run))))
    try:
        yield saved_and_restored(visit, folder)
    finally:
        together(visit.world, lambda: None)  # nobody reads it any more
        if visit.rank == 0:
            shutil.rmtree(folder, ignore_errors=True)


def new_folder(place: Path) -> str:
    return tempfile.mkdtemp(prefix=".largegan-doctor-", dir=place)


def saved_and_restored(visit: Visit, folder: Path) -> Finding:
    found = there_and_back(visit.trainer, visit.world, folder)
    if found.lost:
        facts = f"{found.lost[0]} is not what was saved"
        return Finding("FAIL", "checkpoint", facts, "please report it with this line")
    facts = "read"
    if visit.rank == 0:
        facts = f"{readable(found.bytes)} saved in {found.seconds:.1f} s in {folder.parent}"
    return Finding("ok", "checkpoint", f"{facts}, and restored")
