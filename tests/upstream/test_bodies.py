"""What is compressed is inflated within bounds."""

from __future__ import annotations

import gzip

import pytest

from cheddar.errors import UpstreamBroken
from cheddar.upstream.bodies import inflate


def test_inflate() -> None:
    """A body may be one gzip member or several in a row (RFC 1952, section 2.2), and as large as the limit."""
    assert inflate(gzip.compress(b"a" * 1000), 1000) == b"a" * 1000
    assert inflate(gzip.compress(b"a") + gzip.compress(b"") + gzip.compress(b"b"), 2) == b"ab"
    assert inflate(b"", 10) == b""


@pytest.mark.parametrize(
    "body",
    [
        gzip.compress(b"a" * 1001),
        gzip.compress(b"a" * 501) * 2,
        gzip.compress(b"a" * 10)[:-1],
        gzip.compress(b"a" * 10)[:-8] + b"\0" * 8,
        gzip.compress(b"a") + b"rubbish",
        b"rubbish",
        gzip.compress(b"") * 1000,
    ],
)
def test_not_inflated(body: bytes) -> None:
    """What is too large, cut short, damaged, or in very many parts is refused."""
    with pytest.raises(UpstreamBroken):
        inflate(body, 1000)
