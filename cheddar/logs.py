"""
Logs in which nobody but Cheddar writes lines.

Much of what is logged comes from outside: paths, names, what an upstream says is wrong. A line end in it would begin a
line that looks like another event, an escape sequence would steer the terminal that shows it, and a character that
turns the direction of writing would show it in another order than it has.
"""

from __future__ import annotations

from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import provider


def escaped(text: str, keep: str = "") -> str:
    r"""
    C{text} with all that does not print, or prints as nothing, as Python escapes it (C{\n}, C{\x1b}, C{\u202e}).

    @param keep: characters to leave as they are.
    """
    if text.isprintable():
        return text
    if keep:
        # What is between is mostly printable, which is seen at once.
        return keep[0].join(escaped(part, keep[1:]) for part in text.split(keep[0]))
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


@provider(ILogObserver)
def escape(event: LogEvent) -> None:
    """Stands before the observers that write, and changes what they get: each event is one line, and shows as it is."""
    text = formatEvent(event)
    if not text.isprintable():
        event.pop("log_flattened", None)
        # Lines that were made here, and escaped, stay lines: the observers indent all but the first.
        keep = "\n" if event.get("log_lines") is True else ""
        event["log_format"], event["log_escaped"] = "{log_escaped}", escaped(text, keep)
    failure = event.get("log_failure")
    if isinstance(failure, Failure):
        event["log_failure"] = _Escaped(failure)


class _Escaped(Failure):
    """A failure whose traceback keeps its lines, which observers indent, and nothing else that does not print."""

    def __init__(self, failure: Failure) -> None:
        self.__dict__.update(failure.__dict__)
        self._original = failure

    def getTraceback(self, *args: object, **kwargs: object) -> str:
        """See L{Failure}."""
        return escaped(self._original.getTraceback(*args, **kwargs), keep="\n")  # type: ignore[arg-type]  # passed on


def begin() -> None:
    """From now on escape what is logged. Observers that were there before get it as it is."""
    # Once is enough: the publisher knows the observers it has.
    globalLogPublisher.addObserver(escape)
