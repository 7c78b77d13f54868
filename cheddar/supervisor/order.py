"""What a worker is told when it is started, and where it answers."""

from __future__ import annotations

import json

from attrs import asdict, frozen

#: The worker's descriptors: what it tells its supervisor, and the first of the listening sockets.
TOLD = 3
SOCKETS = 4

#: What a worker says last.
LEAVING = "leaving"


@frozen
class Order:
    """
    @ivar name: of the worker, among those that live; a later one may have it again.
    @ivar sockets: the descriptors of the listening sockets, in the order of the endpoints.
    @ivar interval: seconds between two signs of life.
    @ivar announces: whether the worker tells the administrator where all of them serve.
    """

    name: str
    sockets: tuple[int, ...]
    interval: float
    announces: bool

    @classmethod
    def read(cls, text: str) -> Order:
        """What L{written} has written."""
        values = json.loads(text)
        return cls(values["name"], tuple(values["sockets"]), values["interval"], values["announces"])

    def written(self) -> str:
        """As one word of a command line."""
        return json.dumps(asdict(self))
