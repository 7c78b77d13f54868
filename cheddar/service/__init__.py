"""The composition root: the one place that knows every room."""

from cheddar.service.root import Cheddar, make_service, open_audit, open_store

__all__ = ["Cheddar", "make_service", "open_audit", "open_store"]
