"""The composition root: the one place that knows every room."""

from cheddar.service.indexes import Indexes, open_indexes, start_pool
from cheddar.service.place import Place
from cheddar.service.root import Cheddar, make_lasting_service, make_service, open_audit, open_store

__all__ = [
    "Cheddar",
    "Indexes",
    "Place",
    "make_lasting_service",
    "make_service",
    "open_audit",
    "open_indexes",
    "open_store",
    "start_pool",
]
