"""What can be set, its defaults, and where a value in force came from."""

from cheddar.settings.known import Settings, public_index
from cheddar.settings.layers import FILE_VARIABLE, PREFIX, Loaded, describe, load, nearest, option_name

__all__ = [
    "FILE_VARIABLE",
    "PREFIX",
    "Loaded",
    "Settings",
    "describe",
    "load",
    "nearest",
    "option_name",
    "public_index",
]
