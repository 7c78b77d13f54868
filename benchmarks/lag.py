"""
How long the reactor is kept from its work while the page of 10,000 files is rendered anew in every format, and while a
gigabyte is uploaded::

    python -m benchmarks.lag --size 1000000000

What C{tests/faults/test_reactor_lag.py} does with less, once. Printed are, in milliseconds, the processor time of the
longest step on the reactor's thread, by how much a call came later than planned, and how much of that this process
worked (L{tests.support.stepping}).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.faults.test_reactor_lag import FILES, HTML, Watched
from tests.support.server import JSON


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1_000_000_000, help="bytes of the upload")
    size = parser.parse_args().size
    with TemporaryDirectory() as folder:
        watched = Watched(Path(folder))
        try:
            watched.publish("huge", f"{FILES}.0")
            watched.longest()
            for accept in (JSON, HTML):
                watched.read("/simple/huge/", accept)
                watched.read("/simple/huge/", accept, compressed=True)
            pages = watched.longest()
            watched.publish("large", "1.0", size=size)
            upload = watched.longest()
        finally:
            watched.end()
    for name, seen in (("pages", pages), ("upload", upload)):
        print(name, *(f"{what} {seconds * 1e3:.1f} ms" for what, seconds in seen.items()))


if __name__ == "__main__":
    main()
