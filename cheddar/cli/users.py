"""C{cheddar user}: who may log in."""

from __future__ import annotations

from typing import ClassVar

from twisted.python import usage

from cheddar.auth.passwords import hash_password
from cheddar.cli.command import Group, StoreCommand, Terminal
from cheddar.errors import AlreadyExists, Invalid, NotFound
from cheddar.interfaces import IStore
from cheddar.model import User
from cheddar.names import is_user_name


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

    async def work(self, store: IStore, terminal: Terminal) -> None:
        """See L{StoreCommand.work}."""
        if await store.accounts.user(self.name) is not None:
            raise AlreadyExists(f"there is a user {self.name} already; `cheddar user password` sets a new password")
        await store.accounts.put_user(User(self.name, self.hashed))
        terminal.say(f"Added user {self.name} to {store.description}.")


class SetPassword(_NewPassword):
    """C{cheddar user password NAME}"""

    async def work(self, store: IStore, terminal: Terminal) -> None:
        """See L{StoreCommand.work}."""
        user = await store.accounts.user(self.name)
        if user is None:
            raise NotFound(f"there is no user {self.name} in {store.description}")
        if not await store.accounts.replace_password(self.name, user.password, self.hashed):
            raise Invalid(f"user {self.name} was changed by somebody else at the same moment; try again")
        terminal.say(f"Set a new password for user {self.name}.")


class RemoveUser(_NamedUser):
    """C{cheddar user remove NAME}"""

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
            terminal.say(name)


class Users(Group):
    """C{cheddar user}"""

    commands: ClassVar[list[tuple[str, type[usage.Options], str]]] = [
        ("add", AddUser, "Add a user; the password is asked for."),
        ("list", ListUsers, "List the users."),
        ("remove", RemoveUser, "Remove a user: the next request is refused."),
        ("password", SetPassword, "Set a user's password."),
    ]
