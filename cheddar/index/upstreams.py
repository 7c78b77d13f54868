"""
The servers behind the remote index, in the order in which they are asked.

A project is the first one's that has it (index priority, in the words of PEP 766), never a mixture, unless an
upstream's settings say that it adds to what others have. An upstream that cannot answer is not passed over: whoever
comes after it might have another project of that name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from attrs import define, evolve, frozen
from zope.interface import implementer

from cheddar.deferreds import returns_deferred
from cheddar.errors import NotFound, UpstreamBroken, UpstreamUnavailable
from cheddar.interfaces import IUpstream, IUpstreams
from cheddar.model import CachedPage, Fetched, NotModified, Project, Validators, sort_files, sort_versions

#: Seconds after which a client may ask again for what an upstream of before had listed.
SOON = 1
#: When OFFLINE ends: pip would wait for as long as it is told to, five times, before it says what is wrong.
NOBODY_KNOWS = 0


def _anything(project: str) -> bool:
    return True


@frozen
class Source:
    """
    One upstream among others.

    @ivar name: as the settings call it; empty for the only one.
    @ivar may_be_asked_for: whether it is asked for a (normalized) project.
    @ivar merge: whether its files are added to those that an upstream before it has.
    """

    name: str
    upstream: IUpstream
    may_be_asked_for: Callable[[str], bool] = _anything
    merge: bool = False


@implementer(IUpstreams)
@define(eq=False)
class Upstreams:
    """
    @ivar _sources: in the order in which they are asked.
    @ivar offline: whether none of them is ever asked.
    """

    _sources: Sequence[Source] = ()
    offline: bool = False

    def __bool__(self) -> bool:
        """Whether there are any, be they asked or not."""
        return bool(self._sources)

    @returns_deferred
    async def fetch_project(self, name: str, known: CachedPage | None) -> Fetched | NotModified:
        """
        Ask for a project.

        @param name: normalized.
        @param known: what is remembered: where it is the same source's, a conditional request is enough.
        @raise NotFound: none of them has it. [UpstreamUnavailable, UpstreamBroken]
        """
        asked = [source for source in self._sources if source.may_be_asked_for(name)]
        if not asked:
            raise NotFound(f"No upstream is asked for {name}.")
        if self.offline:
            raise UpstreamUnavailable(
                f"OFFLINE is set: {name} is not here, and no upstream is asked for it.", NOBODY_KNOWS
            )
        mixed = any(source.merge for source in asked[1:])
        answer: Fetched | None = None
        for source in asked:
            if answer is not None and not source.merge:
                continue
            validators = Validators() if mixed else _validators(known, source)
            try:
                found = await source.upstream.fetch_project(name, validators)
            except NotFound:
                continue
            if isinstance(found, NotModified):
                if validators == Validators():
                    raise UpstreamBroken(
                        f"Upstream says that {name} has not changed, and was not asked that. Try again."
                    )
                return NotModified()
            answer = found if answer is None else Fetched(_merged(answer.project, found.project), Validators())
        if answer is None:
            raise NotFound(f"Upstream has no project {name}.")
        return answer

    def of(self, name: str) -> IUpstream:
        """
        Plain call. The upstream called C{name}, for the files that its listing names.

        @raise UpstreamUnavailable: it is not among the settings' any more, or OFFLINE is set.
        """
        if self.offline:
            raise UpstreamUnavailable("OFFLINE is set: what is not here is not fetched.", NOBODY_KNOWS)
        for source in self._sources:
            if source.name == name:
                return source.upstream
        raise UpstreamUnavailable("The upstream that listed this is not in the settings any more. Ask again.", SOON)

    def knows(self, project: Project, url: str = "") -> bool:
        """
        Plain call. Whether a remembered listing is of an upstream that there still is.

        @param url: the address of the upstream that it came from, where that is known.
        """
        return any(
            source.name == project.upstream and url in ("", source.upstream.state()["url"]) for source in self._sources
        )

    def states(self) -> tuple[Mapping[str, object], ...]:
        """Plain call. See L{IUpstream.state<cheddar.interfaces.IUpstream>}; of each."""
        return tuple({**source.upstream.state(), "offline": self.offline} for source in self._sources)


def _validators(known: CachedPage | None, source: Source) -> Validators:
    if known is None or known.project is None or known.project.upstream != source.name:
        return Validators()
    return known.validators


def _merged(first: Project, more: Project) -> Project:
    """C{first}, with the files of C{more} that have other names."""
    names = {file.filename for file in first.files}
    added = [file for file in more.files if file.filename not in names]
    if not added:
        return first
    return evolve(
        first,
        files=sort_files([*first.files, *added]),
        versions=sort_versions([*first.versions, *(file.version for file in added if file.version)]),
    )
