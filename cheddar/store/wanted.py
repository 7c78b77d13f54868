"""
How much a listing is wanted: how recently it was asked for and how often, in one number that needs no clock.

Each request counts for one, and for half as much every L{HALF_LIFE}. The number is the time, in seconds since the
epoch, at which a single request would be worth as much as all of them now: it stays right while time passes, so that
it can be kept sorted.
"""

from __future__ import annotations

from math import log2

HALF_LIFE = 86_400.0
#: No listing is wanted so much more than its last request makes it, unless by a clock that was wrong: some billions of
#: requests would be needed.
LEAP = 32 * HALF_LIFE


def asked_again(wanted: float, asked_at: float) -> float:
    """How much a listing is wanted after one more request."""
    if wanted - asked_at > LEAP:
        return asked_at
    return max(wanted, asked_at) + HALF_LIFE * log2(1 + 2 ** (-abs(wanted - asked_at) / HALF_LIFE))
