"""Files that name what is wanted of an index: requirements files, and the lock files of uv, poetry and PEP 751."""

from __future__ import annotations

import sys
from collections.abc import Callable

from cheddar.errors import Invalid
from cheddar.formats.wanted.poetry_lock import is_poetry_lock, read_poetry_lock
from cheddar.formats.wanted.pylock import is_pylock, read_pylock
from cheddar.formats.wanted.requirements import read_requirements
from cheddar.formats.wanted.uv_lock import is_uv_lock, read_uv_lock
from cheddar.model import WantedList

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_KINDS = ((is_pylock, read_pylock), (is_poetry_lock, read_poetry_lock), (is_uv_lock, read_uv_lock))

__all__ = ["read_wanted"]


def read_wanted(path: str, read: Callable[[str], bytes]) -> WantedList:
    """
    Read a file, whatever its kind: a lock file tells itself by what it says, all else is a requirements file.

    @param read: gives what is in a file; called for those that C{path} includes too.
    @raise Invalid: it is none of them, or broken; the message names the file, and the line where that is known.
    """
    data = read(path)
    try:
        document = tomllib.loads(data.decode())
    except (UnicodeDecodeError, RecursionError, tomllib.TOMLDecodeError) as error:
        if path.endswith(".toml"):
            raise Invalid(f"{path} is not valid TOML: {error}") from error
        document = {}
    for is_such, read_such in _KINDS:
        if is_such(document):
            try:
                return read_such(document)
            except Invalid as error:
                raise Invalid(f"{path} cannot be read: {error}") from error
            except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
                raise Invalid(f"{path} is not what its format says: {error!r}") from error
    if document and path.endswith((".toml", ".lock")):
        raise Invalid(
            f"{path} is no requirements file, pylock.toml, uv.lock or poetry.lock. Other tools export one of these: "
            "`pdm export --format pylock`, `pipenv requirements --hash`."
        )
    return read_requirements(path, read)
