"""Requirements files, as pip reads them, and constraints files."""

from __future__ import annotations

import codecs
import posixpath
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence

from attrs import define, field, frozen
from packaging.markers import Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from cheddar.errors import Invalid
from cheddar.model import Elsewhere, Environment, Named, Wanted

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_COMMENT = re.compile(r"(?:^|\s+)#.*\Z")
_OPTIONS_BEGIN = re.compile(r"(?:^|\s)--?[A-Za-z]")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
#: C{name @ URL}.
_REFERENCE = re.compile(r"[A-Za-z0-9._-]+\s*(?:\[[^\]]*\]\s*)?@")
_ARCHIVES = (".whl", ".zip", ".tar.gz", ".tar.bz2", ".tar.xz")

#: Options of pip that have a value, and those that have none, which do not change what is wanted.
_PASSED_OVER = ("--index-url", "--extra-index-url", "--find-links", "--trusted-host", "--use-feature", "--only-binary")
_FLAGS_PASSED_OVER = ("--no-index", "--prefer-binary", "--require-hashes")
_SHORT = {"-i": "--index-url", "-f": "--find-links", "-r": "--requirement", "-c": "--constraint", "-e": "--editable"}
#: Options behind a requirement.
_OF_REQUIREMENTS = ("--hash", "--config-settings", "--config-setting", "--global-option")


@frozen
class _Line:
    """One requirement of a file."""

    wanted: Named | Elsewhere
    marker: Marker | None = None

    def counts_in(self, environment: Environment | None) -> bool:
        """Whether it is wanted in an environment."""
        return self.marker is None or environment is None or self.marker.evaluate({**environment, "extra": ""})


@define
class _Files:
    """Requirements files that are read, one after the other, with what they include."""

    read: Callable[[str], bytes]
    lines: list[_Line] = field(factory=list)
    constraints: list[_Line] = field(factory=list)
    prereleases: bool = False
    unbuilt: set[str] = field(factory=set)
    _seen: set[tuple[str, bool]] = field(factory=set)

    def take(self, path: str, constrain: bool) -> None:
        """Read a file, once."""
        key = posixpath.normpath(path), constrain
        if key in self._seen:
            return
        self._seen.add(key)
        for number, line in _logical_lines(_decode(path, self.read(path))):
            try:
                self._take_line(path, line, constrain)
            except _LineError as error:
                raise Invalid(f"{path}, line {number}: {error}") from error

    def _take_line(self, path: str, line: str, constrain: bool) -> None:
        begin = _OPTIONS_BEGIN.search(line)
        text = line if begin is None else line[: begin.start()].strip()
        try:
            words = [] if begin is None else shlex.split(line[begin.start() :])
        except ValueError as error:
            raise _LineError(f"the quotes are not closed ({error})") from error
        options = list(_options(words, bool(text)))
        if text:
            lines = self.constraints if constrain else self.lines
            lines.append(_requirement(text, [value for option, value in options if option == "--hash"]))
            return
        for option, value in options:
            self._take_option(path, option, value, constrain)

    def _take_option(self, path: str, option: str, value: str, constrain: bool) -> None:
        if option in ("--requirement", "--constraint"):
            if _SCHEME.match(value):
                self.lines.append(_Line(Elsewhere(f"{option} {value}", "a file that is not here: download it first")))
            else:
                self.take(posixpath.join(posixpath.dirname(path), value), constrain or option == "--constraint")
        elif option == "--editable":
            why = "a source tree, not a file of an index"
            self.lines.append(_Line(Elsewhere(f"{option} {value}", why, at_hand=_is_at_hand(value))))
        elif option == "--pre":
            self.prereleases = True
        elif option == "--no-binary":
            self.unbuilt.update(name if name.startswith(":") else canonicalize_name(name) for name in value.split(","))


class _LineError(Exception):
    """What is wrong in a line."""


@frozen
class Requirements:
    """
    A requirements file with all that it includes.

    @ivar unbuilt: normalized names of which not wheels are wanted but sdists; C{:all:} among them: of all.
    """

    lines: Sequence[_Line]
    constraints: Sequence[_Line]
    prereleases: bool
    unbuilt: frozenset[str]

    def wanted(self, environment: Environment | None) -> tuple[Wanted, ...]:
        """See L{WantedList<cheddar.model.WantedList>}."""
        limits = [line.wanted for line in self.constraints if line.counts_in(environment)]
        lines = [line.wanted for line in self.lines if line.counts_in(environment)]
        return tuple(self._limited(item, limits) for item in lines)

    def _limited(self, item: Named | Elsewhere, limits: Iterable[Named | Elsewhere]) -> Wanted:
        if isinstance(item, Elsewhere):
            return item
        specifier, digests = item.specifier, item.digests
        for limit in limits:
            if isinstance(limit, Named) and limit.name == item.name:
                specifier &= limit.specifier
                digests |= limit.digests
        sdist = ":all:" in self.unbuilt or item.name in self.unbuilt
        return Named(item.name, specifier, digests, self.prereleases, sdist)


def read_requirements(path: str, read: Callable[[str], bytes]) -> Requirements:
    """
    Read a requirements file, and what it includes.

    Source: pip's documentation, "Requirements File Format".

    @param read: gives what is in a file; paths are as the files say, relative to where each lies.
    @raise Invalid: a line is not understood. [what C{read} raises]
    """
    files = _Files(read)
    files.take(path, False)
    return Requirements(files.lines, files.constraints, files.prereleases, frozenset(files.unbuilt))


def _decode(path: str, data: bytes) -> str:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Invalid(f"{path} is not UTF-8 text: it is no requirements file.") from error


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers: continued ones joined, comments and empty ones left out."""
    begun, number = "", 0
    for here, line in enumerate(text.splitlines(), 1):
        number = number if begun else here
        # A comment ends a continued line too, whatever it ends with itself.
        if line.endswith("\\") and not _COMMENT.search(line):
            begun += line[:-1].strip(" ") + " "
            continue
        whole, begun = _COMMENT.sub("", begun + line).strip(), ""
        if whole:
            yield number, whole
    whole = _COMMENT.sub("", begun).strip()
    if whole:
        yield number, whole


def _options(words: Sequence[str], of_requirement: bool) -> Iterator[tuple[str, str]]:
    """Options with their values: C{--name value}, C{--name=value}, C{-n value} or C{-nvalue}."""
    left = list(words)
    while left:
        word = left.pop(0)
        option, equals, value = word.partition("=")
        if word[:2] in _SHORT and not word.startswith("--"):
            option, equals, value = _SHORT[word[:2]], word[2:3], word[2:].removeprefix("=")
        if option in (*_FLAGS_PASSED_OVER, "--pre"):
            yield option, ""
            continue
        known = _OF_REQUIREMENTS if of_requirement else (*_PASSED_OVER, *_SHORT.values(), "--no-binary")
        if option not in known:
            raise _LineError(f"{word!r} is not understood")
        if not equals:
            if not left:
                raise _LineError(f"{option} lacks its value")
            value = left.pop(0)
        yield option, value


def _requirement(text: str, hashes: Iterable[str]) -> _Line:
    if _is_place(text):
        return _Line(Elsewhere(text, "a URL or a path, not a name in an index", at_hand=_is_at_hand(text)))
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise _LineError(f"{text!r} is no requirement: {str(error).splitlines()[0]}") from error
    if requirement.url is not None:
        what, why = f"{requirement.name} @ {requirement.url}", "a URL, not a name in an index"
        return _Line(Elsewhere(what, why, at_hand=_is_at_hand(requirement.url)), requirement.marker)
    digests = frozenset(given.removeprefix("sha256:") for given in hashes if given.startswith("sha256:"))
    named = Named(canonicalize_name(requirement.name), SpecifierSet(str(requirement.specifier)), digests)
    return _Line(named, requirement.marker)


def _is_place(text: str) -> bool:
    """Whether it is not the name of a project, though a file's name has the letters of one."""
    if _REFERENCE.match(text):
        return False
    place = re.split(r"[\[;]", text)[0].strip()
    return bool(_SCHEME.match(text)) or "/" in place or place.startswith(".") or place.endswith(_ARCHIVES)


def _is_at_hand(address: str) -> bool:
    return address.startswith("file:") or not _SCHEME.match(address)
