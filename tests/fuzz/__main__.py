"""
Fuzz one target, or each in turn, for so long::

    python -m tests.fuzz --seconds 600
    python -m tests.fuzz "html page" --seconds 3600 --seed 7

Guided by coverage where atheris is installed (C{pip install atheris}) and one target is named with C{--atheris}.
"""

from __future__ import annotations

import argparse
import sys
import time
from importlib import import_module
from pathlib import Path
from random import Random, SystemRandom
from tempfile import TemporaryDirectory

from tests.fuzz.mutations import mutated
from tests.fuzz.targets import TARGETS

#: Whose branches lead to new inputs, and where the targets are.
GUIDED = ["cheddar", "multipart", "packaging"]
TARGETS_OF = "tests.fuzz.targets"

#: An input that takes longer is as bad as one that fails.
SLOWEST = 5.0


def main() -> None:
    """Run until the time is over, or something fails: then the input is printed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("target", nargs="?", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(10**6))
    parser.add_argument("--atheris", action="store_true")
    arguments = parser.parse_args()
    if arguments.atheris:
        _guided(arguments.target or parser.error("--atheris takes one target"), arguments.seconds)
        return
    names = [arguments.target] if arguments.target else sorted(TARGETS)
    print(f"seed {arguments.seed}", flush=True)
    for name in names:
        print(f"{name}: {_round(name, arguments.seconds / len(names), arguments.seed)} inputs", flush=True)


def _round(name: str, seconds: float, seed: int) -> int:
    target, random = TARGETS[name], Random(f"{seed} {name}")
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        data = mutated(random.choice(target.seeds), random)
        begun = time.monotonic()
        try:
            target(data)
            assert time.monotonic() - begun < SLOWEST, "it took too long"
        except BaseException:
            print(f"{name} fails for {data!r}", file=sys.stderr)
            raise
        count += 1
    return count


def _guided(name: str, seconds: float) -> None:
    import atheris

    # What was imported already is not instrumented; all there is would take a minute.
    for module in [module for module in sys.modules if module.partition(".")[0] in GUIDED or module == TARGETS_OF]:
        del sys.modules[module]
    with atheris.instrument_imports(include=GUIDED):
        target = import_module(TARGETS_OF).TARGETS[name]
    with TemporaryDirectory() as corpus:
        for number, seed in enumerate(target.seeds):
            (Path(corpus) / str(number)).write_bytes(seed)
        limits = [f"-max_total_time={int(seconds)}", f"-timeout={int(SLOWEST)}", "-max_len=100000"]
        atheris.Setup([sys.argv[0], *limits, corpus], target)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
