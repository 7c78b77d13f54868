"""The version of Cheddar: the one place that states it."""

__version__ = "2.0.0.dev0"
