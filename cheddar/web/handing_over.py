"""
Files that the server in front sends: it gets a header that says where the file lies, and no bytes.

Whoever is not that server would get an empty file, so nobody is answered so who does not connect from where it does.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from attrs import frozen

from cheddar.interfaces import IStoredFile
from cheddar.web.clients import UNIX, TrustedProxies
from cheddar.web.request import CheddarRequest


@frozen
class HandOver:
    """
    How the server in front is told.

    @ivar _trusted: where it connects from.
    @ivar _header: which one says it: C{X-Accel-Redirect} (nginx), C{X-Sendfile} (others).
    @ivar _folders: folders that files lie in, and what the header has in their place.
    """

    _trusted: TrustedProxies
    _header: str
    _folders: tuple[tuple[Path, str], ...]

    @classmethod
    def by_x_accel_redirect(cls, trusted: TrustedProxies, prefix: str, folders: Iterable[tuple[str, Path]]) -> HandOver:
        """
        @param prefix: the path of an internal location, with a slash at its end.
        @param folders: by the name that each has below C{prefix}.
        """
        return cls(trusted, "X-Accel-Redirect", tuple((folder.resolve(), prefix + name) for name, folder in folders))

    @classmethod
    def by_x_sendfile(cls, trusted: TrustedProxies) -> HandOver:
        """The header has the file's own path."""
        return cls(trusted, "X-Sendfile", ((Path("/"), ""),))

    def header(self, request: CheddarRequest, file: IStoredFile) -> tuple[str, str] | None:
        """What tells it to send C{file}, quoted as in addresses; None: not it has to, but this server."""
        if request.method != b"GET" or file.path is None or not self._trusted.include(request.peer or UNIX):
            return None
        for folder, name in self._folders:
            if file.path.is_relative_to(folder):
                return self._header, quote(f"{name}/{file.path.relative_to(folder)}")
        return None
