"""The fixtures that tests of stores share."""

from tests.support.redis import redis_server

__all__ = ["redis_server"]
