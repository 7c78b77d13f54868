"""The other server behind a remote index: its pages and files, over connections that do not trust it."""

from cheddar.upstream.client import Upstream
from cheddar.upstream.configured import configured

__all__ = ["Upstream", "configured"]
