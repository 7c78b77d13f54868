"""The reactor's lag is measured, and can be looked at from outside."""

from __future__ import annotations

from twisted.internet.task import Clock

from cheddar import metrics
from cheddar.service.lag import INTERVAL, LagProbe


def counted(up_to: str) -> float:
    """How many lags there were of at most so many seconds."""
    return metrics.registry.get_sample_value("cheddar_reactor_lag_seconds_bucket", {"le": up_to}) or 0.0


def test_a_reactor_that_is_kept_is_seen_to_be_late() -> None:
    """What is on time counts as no lag, what comes later by how much; and when it ends, nothing is left to come."""
    clock = Clock()
    probe = LagProbe(clock)
    before = {up_to: counted(up_to) for up_to in ("0.005", "0.25", "0.5", "+Inf")}
    probe.start()
    for _ in range(3):
        clock.advance(INTERVAL)
    clock.advance(INTERVAL + 0.4)
    assert {up_to: counted(up_to) - count for up_to, count in before.items()} == {
        "0.005": 3,
        "0.25": 3,
        "0.5": 4,
        "+Inf": 4,
    }
    assert b"cheddar_reactor_lag_seconds_count" in metrics.exposed()
    probe.stop()
    assert clock.getDelayedCalls() == []
