"""The other server behind a remote index: its pages and files, over connections that do not trust it."""

from cheddar.upstream.client import Upstream

__all__ = ["Upstream"]
