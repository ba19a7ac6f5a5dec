"""Gives the product spoiled inputs of every kind that it takes, and counts what goes wrong.

    python benchmarks/fuzz.py --minutes 20
    python benchmarks/fuzz.py --count 20000 --seed 1 --results benchmarks/results/fuzz.json
    python benchmarks/fuzz.py --only "zip:731" --seed 1       that input again, with its traceback
    python benchmarks/fuzz.py --kind "checkpoints of others" --count 2000 --first 4000

Every input is a function of seed, kind and number. A worker reads it in process, as a command
would; it is ended when it holds more than 2.5 GB or takes more than a minute. Counted are
tracebacks (anything but a user's error in one sentence), workers ended for memory or time, user's
files that changed, places outside of OUT that were written, and processes that were started.
"""

import argparse
import contextlib
import hashlib
import json
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from random import Random

LIMIT_MB, LIMIT_S = 2500, 60
STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn")
# Which arguments of an event are places, and which are the folders that those begin at.
CHANGES = {
    "os.remove": {0: 1}, "os.rmdir": {0: 1}, "os.mkdir": {0: 2}, "os.rename": {0: 2, 1: 3},
    "os.link": {1: 3}, "os.symlink": {1: 2}, "os.truncate": {0: None}, "os.chmod": {0: 2},
}  # fmt: skip
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Watch:
    """Hears of every file that is written and every process that is started in this process."""

    def __init__(self, allowed: Path):
        self.allowed, self.on = str(allowed), False
        self.begin()
        self.on = False
        sys.addaudithook(self.hear)

    def begin(self) -> None:
        self.outside: list[str] = []
        self.started: list[str] = []
        self.on = True

    def hear(self, event: str, arguments: tuple) -> None:
        if not self.on:
            return
        if event in STARTS:
            self.started.append(f"{event} {str(arguments)[:100]}")
        elif event == "open" and writes(arguments[2]):
            self.wrote(arguments[0], -1)
        for place, folder in CHANGES.get(event, {}).items():
            self.wrote(arguments[place], -1 if folder is None else arguments[folder])

    def wrote(self, place: object, folder: int) -> None:
        if isinstance(place, str | bytes | os.PathLike):
            begin = os.getcwd() if folder < 0 else os.readlink(f"/proc/self/fd/{folder}")
            path = os.path.normpath(os.path.join(begin, os.fsdecode(place)))
            if not path.startswith(self.allowed + os.sep) and path != "/dev/null":
                self.outside.append(path)


def writes(flags: object) -> bool:
    return isinstance(flags, int) and bool(flags & WRITES)


def digest(folder: Path) -> dict[str, str]:
    """Every file below a folder, and the hash of its bytes."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def work(pipe, seed: int, home: Path) -> None:
    """A worker: reads (kind, number), answers (kind, number, outcome, sentence)."""
    os.environ |= {"HOME": str(home / "w"), "LARGEGAN_CACHE": str(home / "w")}
    os.environ |= {"TMPDIR": str(home / "w"), "XDG_CACHE_HOME": str(home / "w")}
    # torch makes this folder where it was told to, by who started us as well.
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(home / "w" / "inductor")
    (home / "w").mkdir(exist_ok=True)
    tempfile.tempdir = str(home / "w")
    os.chdir(home)
    watch = Watch(home / "w")
    with open(os.devnull, "w") as nothing, contextlib.redirect_stderr(nothing):
        while (task := pipe.recv()) is not None:
            pipe.send((*task, *one(*task, seed, home, watch)))


def one(kind: str, number: int, seed: int, home: Path, watch: Watch) -> tuple[str, str]:
    """(outcome, sentence) of one input."""
    from fuzz_kinds import ALLOWED, KINDS, Place

    row, random = KINDS[kind], Random(f"{seed} {kind} {number}")
    data = row.spoil(random.choice(row.samples()), random)
    mine, out = home / "mine", home / "w" / "out"
    for folder in (mine, out):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    given: dict[str, str] = {}

    @contextlib.contextmanager
    def quiet():
        watch.on = False
        yield
        given.update(digest(mine))
        watch.on = True

    watch.begin()
    try:
        row.read(data, Place(mine, out, quiet), random)
        outcome = "read", ""
    except (*ALLOWED, *row.may) as error:
        outcome = f"refused ({type(error).__name__})", str(error)
    except BaseException:
        outcome = "traceback", traceback.format_exc()
    finally:
        watch.on = False
    for what, found in (("started", watch.started), ("outside", watch.outside)):
        if found:
            return what, f"{found[0]} (then: {outcome})"
    return ("changed", str(outcome)) if digest(mine) != given else outcome


class Worker:
    """A process that reads inputs, and is watched."""

    def __init__(self, seed: int, home: Path):
        home.mkdir(exist_ok=True)
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, seed, home), daemon=True)
        self.process.start()
        theirs.close()
        self.peak_mb = 0

    def ask(self, kind: str, number: int) -> tuple[str, str]:
        """(outcome, sentence); "memory", "time" or "death" where the worker came to its end."""
        begun = time.monotonic()
        self.pipe.send((kind, number))
        while not self.pipe.poll(0.02):
            held = self.held_mb()
            self.peak_mb = max(self.peak_mb, held)
            if held > LIMIT_MB:
                return "memory", f"{held} MB"
            if time.monotonic() - begun > LIMIT_S:
                return "time", f"{LIMIT_S} s"
            if not self.process.is_alive() and not self.pipe.poll(0):
                return "death", f"exit {self.process.exitcode}"
        try:
            return self.pipe.recv()[2:]
        except EOFError:
            return "death", f"exit {self.process.exitcode}"

    def held_mb(self) -> int:
        with contextlib.suppress(OSError, IndexError, ValueError):
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            return int(status.split("VmRSS:")[1].split()[0]) // 1024
        return 0

    def end(self) -> None:
        self.process.kill()
        self.process.join()


FINDINGS = ("traceback", "memory", "time", "death", "changed", "outside", "started")


class Tally:
    """What came of the inputs, by kind."""

    def __init__(self):
        self.outcomes: dict[str, Counter] = {}
        self.sentences: dict[str, Counter] = {}
        self.found: list[dict] = []

    def note(self, kind: str, number: int, outcome: str, sentence: str) -> None:
        self.outcomes.setdefault(kind, Counter())[outcome] += 1
        if outcome in FINDINGS:
            self.found.append({"input": f"{kind}:{number}", "what": outcome, "said": sentence})
            print(f"{kind}:{number} {outcome}: {brief(sentence)}", flush=True)
        elif sentence:
            self.sentences.setdefault(kind, Counter())[plain(sentence)] += 1

    def total(self, outcome: str) -> int:
        return sum(counts[outcome] for counts in self.outcomes.values())

    def as_dict(self) -> dict:
        kinds = {
            kind: {**dict(sorted(counts.items())), "sentences": len(self.sentences.get(kind, ()))}
            for kind, counts in self.outcomes.items()
        }
        return {"inputs": sum(sum(c.values()) for c in self.outcomes.values()), "kinds": kinds,
                "findings": {what: self.total(what) for what in FINDINGS}}  # fmt: skip

    def log(self) -> str:
        """What was said, for people: each sentence of each kind once, and how often."""
        lines = [f"{f['input']} {f['what']}: {f['said']}" for f in self.found]
        for kind, counts in self.outcomes.items():
            lines += ["", f"{kind}: " + ", ".join(f"{n} {what}" for what, n in counts.items())]
            lines += [
                f"  {n:5d}  {said}"
                for said, n in self.sentences.get(kind, Counter()).most_common(12)
            ]
        return "\n".join(lines) + "\n"


def brief(said: str) -> str:
    """Of a traceback, where the product was, and what was raised."""
    lines = [line.strip() for line in said.strip().splitlines()]
    ours = [line for line in lines if "/largegan/" in line]
    return f"{ours[-1] if ours else ''} {lines[-1][:160]}"


def plain(sentence: str) -> str:
    """A sentence without what differs from input to input."""
    sentence = re.sub(r"(/[\w.+-]+)+", "PATH", sentence)
    return re.sub(r"\d+", "N", sentence)[:160]


def inputs(count: int | None, kind: str | None = None, first: int = 0):
    """(kind, number), all kinds in turn as often as their shares say, or one of them."""
    from fuzz_kinds import KINDS

    row = [kind] if kind else [k for k, about in KINDS.items() for _ in range(about.share)]
    at, made = Counter(dict.fromkeys(row, first)), 0
    while count is None or made < count:
        for kind in row:
            yield kind, at[kind]
            at[kind] += 1
            made += 1
            if made == count:
                return


def run(arguments: argparse.Namespace, home: Path) -> Tally:
    """All inputs through a worker, which is replaced where it came to its end."""
    import fuzz_kinds

    for name, about in fuzz_kinds.KINDS.items():  # once, before the workers are forked
        if arguments.kind in (None, name):
            about.samples()
    fuzz_kinds.packed()
    tally, deadline = Tally(), time.monotonic() + 60 * (arguments.minutes or 1e9)
    worker = Worker(arguments.seed, home / "0")
    chosen = [tuple(arguments.only.rsplit(":", 1))] if arguments.only else None
    for kind, number in chosen or inputs(arguments.count, arguments.kind, arguments.first):
        outcome, sentence = worker.ask(kind, int(number))
        tally.note(kind, int(number), outcome, sentence)
        if outcome in ("memory", "time", "death"):
            worker.end()
            worker = Worker(arguments.seed, home / "0")
        if time.monotonic() > deadline:
            break
    worker.end()
    tally.peak_mb = worker.peak_mb
    return tally


def main(argv: list[str] | None = None) -> int:
    sys.dont_write_bytecode = True  # modules that are met late are no harm of an input
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, help="stop after so long")
    parser.add_argument("--count", type=int, help="stop after so many inputs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", metavar="KIND:NUMBER", help="one input")
    parser.add_argument("--kind", help="inputs of one kind only")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--results", type=Path, help="FILE.json; FILE.log is written beside it")
    parser.add_argument("--machine", default="", help="what to call this machine in the results")
    arguments = parser.parse_args(argv)
    if not (arguments.minutes or arguments.count or arguments.only):
        parser.error("say how much: --minutes, --count or --only")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="largegan-fuzz-") as home:
        tally = run(arguments, Path(home))
    answer = {"machine": arguments.machine, "seed": arguments.seed, **tally.as_dict(),
              "limit_mb": LIMIT_MB, "seconds": round(time.monotonic() - begun)}  # fmt: skip
    if arguments.results:
        arguments.results.write_text(json.dumps(answer, indent=1) + "\n")
        arguments.results.with_suffix(".log").write_text(tally.log())
    print(f"{answer['inputs']} inputs in {answer['seconds']} s: {answer['findings']}")
    return 1 if any(answer["findings"].values()) else 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())
