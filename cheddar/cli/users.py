"""C{cheddar user}: who may log in."""

from __future__ import annotations

from typing import ClassVar

from twisted.python import usage

from cheddar.auth.passwords import hash_password, is_hash
from cheddar.cli.command import Group, StoreCommand, Terminal
from cheddar.errors import AlreadyExists, Invalid, NotFound
from cheddar.interfaces import IStore
from cheddar.model import Event, User
from cheddar.names import is_user_name, normalize_pattern, patterns_meet


class _NamedUser(StoreCommand):
    """A command that takes a user's name."""

    synopsis = "[options] NAME"
    name: str

    def parseArgs(self, *names: str) -> None:
        """The user's name. [UsageError]"""
        if len(names) != 1:
            raise usage.UsageError("exactly one user name is needed")
        self.name = names[0]

    def prepare(self, terminal: Terminal) -> None:
        """Check the name. [Invalid]"""
        if not is_user_name(self.name):
            raise Invalid(
                f"{self.name!r} cannot be a user's name: letters, digits and ._@+- only, at most 64, the first a "
                "letter or a digit"
            )

    def subject(self) -> Event:
        """See L{StoreCommand.subject}."""
        return Event(action=self.noted, detail=self.name)


class _NewPassword(_NamedUser):
    """A command that takes a user's name and asks for a new password."""

    optFlags = [["stdin", None, "Take the password from the first line of standard input; ask nothing."]]
    hashed: str

    def prepare(self, terminal: Terminal) -> None:
        """Check the name, get the password, and hash it. [Invalid]"""
        super().prepare(terminal)
        password = self._from_stdin(terminal) if self["stdin"] else self._from_prompt(terminal)
        try:
            self.hashed = hash_password(password)
        except ValueError as error:
            raise Invalid(str(error)) from error

    def _from_stdin(self, terminal: Terminal) -> str:
        return terminal.stdin.readline().rstrip("\r\n")

    def _from_prompt(self, terminal: Terminal) -> str:
        try:
            password = terminal.ask(f"Password for {self.name}: ")
            again = terminal.ask("The same again: ")
        except EOFError as error:
            raise Invalid("there is nobody to ask for the password; use --stdin") from error
        if password != again:
            raise Invalid("the two passwords are not the same; nothing was changed")
        return password


class AddUser(_NewPassword):
    """C{cheddar user add NAME}"""

    noted = "user.add"

    async def work(self, store: IStore, terminal: Terminal) -> None:
        """See L{StoreCommand.work}."""
        if await store.accounts.user(self.name) is not None:
            raise AlreadyExists(f"there is a user {self.name} already; `cheddar user password` sets a new password")
        await store.accounts.put_user(User(self.name, self.hashed))
        terminal.say(f"Added user {self.name} to {store.description}.")


class SetPassword(_NewPassword):
    """C{cheddar user password NAME}"""

    noted = "user.password"

    async def work(self, store: IStore, terminal: Terminal) -> None:
        """See L{StoreCommand.work}."""
        user = await store.accounts.user(self.name)
        if user is None:
            raise NotFound(f"there is no user {self.name} in {store.description}")
        if not await store.accounts.replace_password(self.name, user.password, self.hashed):
            raise Invalid(f"user {self.name} was changed by somebody else at the same moment; try again")
        terminal.say(f"Set a new password for user {self.name}.")


class HashPasswords(StoreCommand):
    """C{cheddar user hash}"""

    synopsis = "--all | NAME ..."
    optFlags = [["all", None, "All users that have a plain text password."]]
    names: tuple[str, ...] = ()

    def parseArgs(self, *names: str) -> None:
        """The users' names, or none with --all. [UsageError]"""
        if bool(names) is bool(self["all"]):
            raise usage.UsageError("either names of users are needed, or --all")
        self.names = names

    async def work(self, store: IStore, terminal: Terminal) -> None:
        """See L{StoreCommand.work}."""
        hashed, missed = 0, []
        for name in self.names or await store.accounts.user_names():
            user = await store.accounts.user(name)
            if user is None and self.names:
                raise NotFound(f"there is no user {name} in {store.description}")
            if user is None or is_hash(user.password):
                continue
            try:
                done = await store.accounts.replace_password(name, user.password, hash_password(user.password))
            except ValueError:
                done = False
            if done:
                hashed += 1
            else:
                missed.append(name)
        terminal.say(f"Replaced {hashed} plain text passwords by their hashes.")
        if missed:
            raise Invalid(
                f"not replaced: {', '.join(missed)}. What is empty, too long or no UTF-8 lets nobody in: set it anew "
                "with `cheddar user password`. Where somebody has just changed it, try again."
            )


class RemoveUser(_NamedUser):
    """C{cheddar user remove NAME}"""

    noted = "user.remove"

    async def work(self, store: IStore, terminal: Terminal) -> None:
        """See L{StoreCommand.work}."""
        if not await store.accounts.remove_user(self.name):
            raise NotFound(f"there is no user {self.name} in {store.description}")
        terminal.say(f"Removed user {self.name}.")


class ListUsers(StoreCommand):
    """C{cheddar user list}"""

    async def work(self, store: IStore, terminal: Terminal) -> None:
        """See L{StoreCommand.work}."""
        for name in await store.accounts.user_names():
            grants = await store.accounts.grants(name)
            terminal.say(f"{name} (may create {', '.join(grants)})" if grants else name)


class _Granting(_NamedUser):
    """A command that takes a user's name and a pattern of project names."""

    synopsis = "NAME PATTERN"
    pattern: str

    def parseArgs(self, *words: str) -> None:
        """The user's name and the pattern. [UsageError]"""
        if len(words) != 2:
            raise usage.UsageError("a user's name and a pattern are needed, as in: alice 'acme-*'")
        self.name, self.pattern = words

    def prepare(self, terminal: Terminal) -> None:
        """Check the name and the pattern. [Invalid]"""
        super().prepare(terminal)
        try:
            self.pattern = normalize_pattern(self.pattern)
        except ValueError as error:
            raise Invalid(f"{self.pattern!r} cannot be granted: it must be {error}") from error

    def subject(self) -> Event:
        """See L{StoreCommand.subject}."""
        return Event(action=self.noted, detail=f"{self.name} {self.pattern}")


class Grant(_Granting):
    """C{cheddar user grant NAME PATTERN}"""

    noted = "user.grant"

    async def work(self, store: IStore, terminal: Terminal) -> None:
        """See L{StoreCommand.work}."""
        if await store.accounts.user(self.name) is None:
            raise NotFound(f"there is no user {self.name} in {store.description}")
        await store.accounts.put_grant(self.name, self.pattern)
        terminal.say(f"{self.name} may create {self.pattern} now.")
        if not any(patterns_meet(self.pattern, pattern) for pattern in self.settings.reserved_names):
            terminal.say(
                "RESERVED_NAMES reserves none of these names, so that whoever may upload may create them; give this "
                "command the settings that the server has."
            )


class Revoke(_Granting):
    """C{cheddar user revoke NAME PATTERN}"""

    noted = "user.revoke"

    async def work(self, store: IStore, terminal: Terminal) -> None:
        """See L{StoreCommand.work}."""
        if not await store.accounts.remove_grant(self.name, self.pattern):
            granted = ", ".join(await store.accounts.grants(self.name)) or "nothing"
            raise NotFound(f"{self.name} was not granted {self.pattern}; it was granted {granted}")
        terminal.say(f"{self.name} may no longer create {self.pattern}. Projects that are there are not touched.")


class Users(Group):
    """C{cheddar user}"""

    commands: ClassVar[list[tuple[str, type[usage.Options], str]]] = [
        ("add", AddUser, "Add a user; the password is asked for."),
        ("list", ListUsers, "List the users, and what they were granted."),
        ("remove", RemoveUser, "Remove a user: the next request is refused."),
        ("password", SetPassword, "Set a user's password."),
        ("hash", HashPasswords, "Replace plain text passwords, set by redis-cli, by their hashes."),
        ("grant", Grant, "Let a user create projects under reserved names: acme-web-* or the like."),
        ("revoke", Revoke, "Take such a grant back."),
    ]
