"""
What Cheddar counts, as Prometheus metrics. Labels are bounded: routes and outcomes, never projects or users.
"""

from __future__ import annotations

import os
from bisect import bisect_left

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

registry = CollectorRegistry()

requests = Counter("cheddar_http_requests", "Requests answered.", ("method", "route", "status"), registry=registry)
request_seconds = Histogram(
    "cheddar_http_request_seconds",
    "Seconds from the request's last byte to the response's last byte.",
    ("route",),
    registry=registry,
)
hot_answers = Counter(
    "cheddar_http_answers_from_memory",
    "Requests answered with what the same request was answered before.",
    registry=registry,
)
uploads = Counter("cheddar_uploads", "Uploads by outcome.", ("outcome",), registry=registry)
logins = Counter(
    "cheddar_logins", "Logins by outcome: ok, refused, or limited (not looked at).", ("outcome",), registry=registry
)
token_logins = Counter("cheddar_token_logins", "Logins by API token, by outcome.", ("outcome",), registry=registry)
upstream_requests = Counter(
    "cheddar_upstream_requests", "Requests to upstream by kind and outcome.", ("kind", "outcome"), registry=registry
)
upstream_blocked = Counter(
    "cheddar_upstream_blocked",
    "Addresses that upstream named and Cheddar refused to ask.",
    ("reason",),
    registry=registry,
)
pages_served = Counter(
    "cheddar_remote_pages_served", "Remote listings served, by where they came from.", ("source",), registry=registry
)
page_age = Histogram(
    "cheddar_remote_page_age_seconds",
    "Seconds since upstream confirmed a remote listing, when it was served.",
    buckets=(1, 60, 600, 3600, 6 * 3600, 86_400, 3 * 86_400, 7 * 86_400, 30 * 86_400),
    registry=registry,
)
withdrawals = Counter(
    "cheddar_upstream_withdrawals",
    "What upstream has taken back, or back again, by what it did.",
    ("action",),
    registry=registry,
)
downloads_under_way = Gauge(
    "cheddar_downloads_under_way", "Downloads from upstream under way.", multiprocess_mode="livesum", registry=registry
)
downloads = Counter("cheddar_downloads", "Downloads from upstream by outcome.", ("outcome",), registry=registry)
downloads_resumed = Counter(
    "cheddar_downloads_resumed", "Downloads from upstream that went on after they were broken off.", registry=registry
)
wrong_bytes = Counter(
    "cheddar_upstream_wrong_bytes",
    "Files that came from upstream with another digest than its listing promises.",
    registry=registry,
)
relays_under_way = Gauge(
    "cheddar_relays_under_way",
    "Files under way from upstream to one client each, kept nowhere.",
    multiprocess_mode="livesum",
    registry=registry,
)
relays = Counter(
    "cheddar_relays",
    "Files passed on to one client and not kept, for there was no room, by outcome.",
    ("outcome",),
    registry=registry,
)
cache_bytes = Gauge(
    "cheddar_cache_bytes", "Bytes of the files in the cache.", multiprocess_mode="mostrecent", registry=registry
)
cache_files = Gauge(
    "cheddar_cache_files",
    "Files in the cache, and what lies beside them.",
    multiprocess_mode="mostrecent",
    registry=registry,
)
cache_evictions = Counter("cheddar_cache_evictions", "Files evicted from the cache.", registry=registry)
cache_evicted_bytes = Counter("cheddar_cache_evicted_bytes", "Bytes of evicted files.", registry=registry)
upstream_up = Gauge(
    "cheddar_upstream_up",
    "Whether the last answer of an upstream was good.",
    ("upstream",),
    multiprocess_mode="mostrecent",
    registry=registry,
)
upstream_failures = Gauge(
    "cheddar_upstream_failures",
    "Failures of an upstream in a row.",
    ("upstream",),
    multiprocess_mode="mostrecent",
    registry=registry,
)
upstream_breaker = Gauge(
    "cheddar_upstream_breaker",
    "1 at the state of an upstream's circuit breaker: closed (asked), open (left alone) or half-open (tried).",
    ("upstream", "state"),
    multiprocess_mode="mostrecent",
    registry=registry,
)
listings_refreshed = Counter(
    "cheddar_listings_refreshed", "Cached listings brought up to date by the refresh loop.", registry=registry
)
connections = Gauge(
    "cheddar_connections", "Connections of clients that are open.", multiprocess_mode="livesum", registry=registry
)
connections_refused = Counter(
    "cheddar_connections_refused",
    "Connections of clients that were not taken, by whose limit.",
    ("of",),
    registry=registry,
)
connections_cut = Counter(
    "cheddar_connections_cut",
    "Connections cut because the client was too slow, by in what.",
    ("slow",),
    registry=registry,
)
access_log_lost = Counter(
    "cheddar_access_log_lost", "Requests whose line could not be written to the access log.", registry=registry
)
reactor_lag = Histogram(
    "cheddar_reactor_lag_seconds",
    "Seconds by which a planned call was late, looked at four times a second.",
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5),
    registry=registry,
)
store_failures = Counter("cheddar_store_failures", "Store calls that failed.", registry=registry)


def shared() -> bool:
    """Whether several processes count together; then labels cannot be taken back."""
    return "PROMETHEUS_MULTIPROC_DIR" in os.environ


def exposed() -> bytes:
    """All that is counted, by all processes that serve together, as text for Prometheus."""
    if not shared():
        return generate_latest(registry)
    together = CollectorRegistry()
    MultiProcessCollector(together)  # type: ignore[no-untyped-call]  # the library has not annotated this one
    return generate_latest(together)


def observe_alike(histogram: Histogram, total: float, count: int) -> None:
    """Observe C{count} values that are about the same, and C{total} together, in one step."""
    # The library has no way to do so but one by one.
    place = bisect_left(histogram._upper_bounds, total / count)
    histogram._sum.inc(total)
    histogram._buckets[place].inc(count)
