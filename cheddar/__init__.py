"""Cheddar: the Python package index an organisation runs for itself."""

from cheddar._version import __version__

__all__ = ["__version__"]
