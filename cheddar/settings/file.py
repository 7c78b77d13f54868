"""Read a settings file: TOML, or the Python files of the first Cheddar, which are parsed and never executed."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from cheddar.errors import SettingsError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: What the first Cheddar's files may set and this one has no use for, and why.
OBSOLETE = {
    "FORCE_READ_REQUESTS": "request bodies are always read as they come",
    "LOGGING": "the log goes to standard output, or where twistd's --logfile says",
}

_PYTHON_SUFFIXES = (".py", ".cfg")
_LARGEST = 2**63


@frozen
class SettingsFile:
    """
    The content of a settings file, its values not yet checked.

    @ivar values: by the setting's name in lower case.
    @ivar warnings: sentences about what was passed over.
    """

    values: Mapping[str, object]
    warnings: tuple[str, ...] = ()


def read_settings_file(file: Path) -> SettingsFile:
    """
    Read C{file}. One that ends in C{.toml} is TOML, in C{.py} or C{.cfg} Python; any other is whichever it parses as.

    @raise SettingsError: it cannot be read, or is neither.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file}: is not UTF-8 text") from error
    if file.suffix not in _PYTHON_SUFFIXES:
        try:
            return _lower(file, tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            if file.suffix == ".toml" or not _is_python(text):
                raise SettingsError(f"{file}: is not TOML: {error}") from error
    return _read_python(file, text)


def _lower(file: Path, values: Mapping[str, object]) -> SettingsFile:
    """Make names lower case, and take out what is obsolete."""
    kept: dict[str, object] = {}
    warnings = []
    for name, value in values.items():
        if name.upper() in OBSOLETE:
            warnings.append(f"{file}: {name.upper()} has no effect any more: {OBSOLETE[name.upper()]}")
        elif name.lower() in kept:
            raise SettingsError(f"{file}: {name.upper()} is set twice")
        else:
            kept[name.lower()] = value
    return SettingsFile(kept, tuple(warnings))


def _is_python(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    return True


def _read_python(file: Path, text: str) -> SettingsFile:
    try:
        statements = ast.parse(text).body
    except SyntaxError as error:
        raise SettingsError(f"{file}: line {error.lineno}: {error.msg}") from error
    except ValueError as error:
        raise SettingsError(f"{file}: {error}") from error
    values: dict[str, object] = {}
    for statement in statements:
        if isinstance(statement, ast.Import | ast.ImportFrom) or _is_docstring(statement):
            continue  # harmless where nothing is executed; what uses an import is refused below
        if not (
            isinstance(statement, ast.Assign)
            and len(statement.targets) == 1
            and isinstance(statement.targets[0], ast.Name)
        ):
            raise SettingsError(f"{file}: line {statement.lineno}: only lines of the form NAME = value are read")
        name = statement.targets[0].id
        # The last assignment counts, as it did when these files were executed.
        values[name] = None if name.upper() in OBSOLETE else _value(file, name, statement.value)
    return _lower(file, values)


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _value(file: Path, name: str, node: ast.expr) -> object:
    match node:
        case ast.Constant(value=str() | int() | float() as value):
            return value
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return [_value(file, name, element) for element in elements]
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            first, second = _value(file, name, left), _value(file, name, right)
            if isinstance(first, int) and isinstance(second, int) and first < _LARGEST and second < _LARGEST:
                return first * second
    raise SettingsError(
        f"{file}: line {node.lineno}: {name.upper()}: only a string, a number, a list of these, or a product of "
        "whole numbers is read; nothing in this file is executed"
    )
