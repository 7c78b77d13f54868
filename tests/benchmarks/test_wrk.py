"""What wrk prints is read right, and errors among the answers are seen."""

from __future__ import annotations

import pytest

from benchmarks.wrk import Load, WrkFailed, parse

FAST = """Running 2s test @ http://127.0.0.1:34567/simple/median/
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   712.08us  298.21us   6.88ms   82.14%
    Req/Sec    22.56k     1.12k   24.69k    60.00%
  Latency Distribution
     50%  667.00us
     75%    0.85ms
     90%    1.10ms
     99%    2.32ms
  44998 requests in 2.00s, 0.61GB read
Requests/sec:  22452.17
Transfer/sec:    310.60MB
"""
SLOW = """  Latency Distribution
     50%    1.20s
     75%    1.30s
     90%    1.40s
     99%    1.10m
  12 requests in 10.01s, 512.00KB read
  Socket errors: connect 0, read 1, write 0, timeout 3
  Non-2xx or 3xx responses: 5
"""


def test_figures_of_a_run() -> None:
    """Whatever units wrk chooses."""
    load = parse(FAST)
    assert load == Load(44998, 2.0, int(0.61 * 1024**3), p50=0.667, p99=2.32)
    assert load.rate == 22499
    assert round(load.bandwidth) == 327
    slow = parse(SLOW)
    assert (slow.p50, slow.p99, slow.size) == (1200.0, 66_000.0, 512 * 1024)


def test_errors_are_counted() -> None:
    """An error page is no fast answer, nor is a connection that broke."""
    assert parse(SLOW).failures == 9
    assert parse(FAST).failures == 0


def test_no_figures_are_an_error() -> None:
    """What cannot be read is not taken for nothing."""
    with pytest.raises(WrkFailed, match="unable to connect"):
        parse("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_no_answers_in_time() -> None:
    """wrk then says nothing of latencies."""
    assert parse("  0 requests in 1.00s, 0.00B read\n") == Load(0, 1.0, 0, 0.0, 0.0)
