"""Markers in lock files."""

from __future__ import annotations

from packaging.markers import InvalidMarker, Marker

from cheddar.model import Environment


def may_hold(marker: str, environment: Environment) -> bool:
    """
    Whether what a lock has under this marker may be needed in an environment. Extras are all wanted, of those that
    exclude each other too; and what only the tool that wrote it understands may mean anything.
    """
    if not marker or "extra" in marker:
        return True
    try:
        return Marker(marker).evaluate({**environment})
    except InvalidMarker:
        return True
