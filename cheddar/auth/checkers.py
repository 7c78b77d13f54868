"""Users whom others know: Twisted's checkers of logins, as C{--auth} names them."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from twisted.cred.checkers import FilePasswordDB, ICredentialsChecker, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import LoginFailed, Unauthorized
from twisted.cred.strcred import InvalidAuthType, makeChecker
from twisted.internet.defer import maybeDeferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.plugins.cred_unix import UNIXChecker
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from cheddar.deferreds import shielded
from cheddar.errors import SettingsError, Unavailable
from cheddar.names import is_user_name

#: Twisted's own checkers read files and hash in the thread that asks them. All others are asked in the reactor's: the
#: interface says so, and they may use it.
_BLOCKING = (FilePasswordDB, InMemoryUsernamePasswordDatabaseDontUse, UNIXChecker)


def named(descriptions: Iterable[str]) -> tuple[ICredentialsChecker, ...]:
    """
    The checkers that descriptions such as C{file:/path} name (L{twisted.cred.strcred}).

    @raise SettingsError: there is no such kind, it does not take what stands behind the colon, or it knows no names and
        passwords. What stands behind the colon may be a secret, and is not in the message.
    """
    return tuple(map(_named, descriptions))


def _named(description: str) -> ICredentialsChecker:
    kind, _, argument = description.partition(":")
    try:
        checker: Any = makeChecker(description)
    except InvalidAuthType:
        raise SettingsError(
            f"AUTH: there is no kind of checker {kind!r}; `twistd cheddar --help-auth` lists those that are installed"
        ) from None
    except Exception as error:  # noqa: BLE001  # every kind refuses in its own way
        reason = str(error).replace(argument, "***") if argument else str(error)
        raise SettingsError(f"AUTH: {kind} cannot be used: {reason or type(error).__name__}") from None
    if IUsernamePassword not in checker.credentialInterfaces:
        raise SettingsError(f"AUTH: {kind} cannot be used: it does not check user names with passwords")
    if isinstance(checker, InMemoryUsernamePasswordDatabaseDontUse):
        # Its plugin fills it with text, although what it is asked for is bytes: nobody could log in.
        checker.users = {_bytes(user): _bytes(password) for user, password in checker.users.items()}
    return checker  # type: ignore[no-any-return]  # strcred has no types


@implementer(IUsernamePassword)
@frozen
class _Sent:
    """A name and a password; comparing takes no shorter for a wrong beginning."""

    username: bytes
    password: bytes = field(repr=False)

    def checkPassword(self, password: bytes | str) -> bool:
        """Whether this is the password."""
        return hmac.compare_digest(self.password, _bytes(password))


@define(eq=False)
class Checkers:
    """
    Asks checkers, in their order; the first that knows the name and the password decides.

    They are others' code: one that takes too long, or fails, makes a login that no other checker knows fail as
    unavailable, not as wrong.

    @ivar _pool: where those are asked that would hold the reactor up.
    """

    _checkers: tuple[ICredentialsChecker, ...]
    _reactor: Any
    _pool: ThreadPool
    _asking: int = field(default=0, init=False)

    _log = Logger()

    SECONDS = 10.0
    ASKING_MOST = 32

    async def name_of(self, username: str, password: str) -> str | None:
        """
        @return: under which name this is a user; None: it is none.
        @raise Unavailable: none of the checkers knows it, and not all of them could say.
        """
        sent = _Sent(username.encode(), password.encode())
        unsure = False
        for checker in self._checkers:
            try:
                name = _text(await self._ask(checker, sent))
            except (LoginFailed, Unauthorized):
                continue
            except Unavailable:
                raise
            except Exception as error:  # noqa: BLE001  # nobody knows how it may fail
                self._tell(checker, error)
                unsure = True
                continue
            if is_user_name(name):
                return name
        if unsure:
            raise Unavailable("Logins cannot be checked now: try again in a moment.")
        return None

    async def _ask(self, checker: ICredentialsChecker, sent: _Sent) -> object:
        if self._asking >= self.ASKING_MOST:
            raise Unavailable("Too many logins at once: try again in a moment.", retry_after=2)
        self._asking += 1
        if not isinstance(checker, _BLOCKING):
            asked = maybeDeferred(checker.requestAvatarId, sent).addBoth(self._asked)
            return await asked.addTimeout(self.SECONDS, self._reactor)
        # A thread goes on whoever waits for it: it counts until it has ended.
        work = deferToThreadPool(self._reactor, self._pool, _ask_here, checker, sent).addBoth(self._asked)
        (answer,) = await shielded(work).addTimeout(self.SECONDS, self._reactor)
        if isinstance(answer, Failure):
            answer.raiseException()
        return answer

    def _asked(self, result: Any) -> Any:
        self._asking -= 1
        return result

    def _tell(self, checker: ICredentialsChecker, error: Exception) -> None:
        # Where, and not what: nobody knows what others write into their messages.
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        self._log.error(
            "A login could not be checked by {checker}: {error} in {file}, line {line}",
            checker=type(checker).__name__,
            error=type(error).__name__,
            file=trace.tb_frame.f_code.co_filename if trace is not None else "?",
            line=trace.tb_lineno if trace is not None else 0,
        )


def _ask_here(checker: Any, sent: _Sent) -> list[Any]:
    """What a checker says at once: a name, or a Failure."""
    if isinstance(checker, FilePasswordDB):
        # It takes a file that cannot be read for one without users.
        Path(checker.filename).open("rb").close()
    answers: list[Any] = []
    maybeDeferred(checker.requestAvatarId, sent).addBoth(answers.append)
    return answers


def _text(name: object) -> str:
    if isinstance(name, bytes):
        return name.decode("utf-8", "replace")
    return name if isinstance(name, str) else ""


def _bytes(text: bytes | str) -> bytes:
    return text.encode() if isinstance(text, str) else text
