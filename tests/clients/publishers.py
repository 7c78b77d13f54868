"""The tools that publish, as a table: each makes a project of its kind, and publishes it as its users do."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Protocol

from attrs import field, frozen

from tests.support.clients import OLD, output, run
from tests.support.distributions import make_sdist, make_wheel
from tests.support.server import PASSWORD, USER

WHEEL_AND_SDIST = (".tar.gz", ".whl")

_CHANGED = b"changed = True\n"


@frozen
class Account:
    """
    Where to publish, and as whom.

    @ivar url: the address of a Cheddar, with a slash at its end.
    """

    url: str
    user: str = USER
    password: str = PASSWORD

    @property
    def upload_url(self) -> str:
        """Where uploads go."""
        return f"{self.url}pypi/"


class Publisher(Protocol):
    """
    A tool and how to use it. A project has its folder; its files stand in C{dist} below that, once it was published.

    @ivar client: the name in L{tests.support.clients.REQUIREMENTS}.
    @ivar suffixes: how the files end that it publishes, in alphabetical order.
    @ivar can_skip: whether it has an option to pass over what the index has.
    @ivar looks_first: whether it asks the index by itself, and sends nothing that the index has.
    """

    @property
    def client(self) -> str: ...

    @property
    def suffixes(self) -> tuple[str, ...]: ...

    @property
    def can_skip(self) -> bool: ...

    @property
    def looks_first(self) -> bool: ...

    def prepare(self, folder: Path, name: str, version: str) -> None:
        """Make a project, ready to be published."""

    def change(self, folder: Path, name: str, version: str) -> None:
        """Give the same release other content."""

    def publish(self, folder: Path, account: Account, skip: bool = False) -> CompletedProcess[str]:
        """
        Publish what the folder holds.

        @param skip: with the tool's option to pass over what the index has.
        """

    def publish_again(self, folder: Path, account: Account) -> CompletedProcess[str]:
        """Publish the very same bytes once more."""


def home_of(folder: Path) -> Path:
    """The home folder of whoever publishes the project."""
    return folder.parent / "home"


def files_of(folder: Path) -> list[Path]:
    """The wheels and sdists of a project (uv puts a file of its own beside them)."""
    return sorted(path for path in (folder / "dist").iterdir() if path.name.endswith(WHEEL_AND_SDIST))


def said(done: CompletedProcess[str]) -> str:
    """All that a tool tells its user: on the terminal, and in the log that it names there (pdm)."""
    text = output(done)
    logs = re.findall(r"^See (\S+) for detailed debug log", text, re.MULTILINE)
    return "\n".join((text, *(Path(log).read_text() for log in logs)))


@frozen
class Uploader:
    """
    A tool that publishes files which something else has built.

    @ivar command: its arguments for an account and files.
    @ivar skipping: its arguments that make it pass over what the index has.
    """

    client: str
    command: Callable[[Account, tuple[str, ...]], tuple[str, ...]]
    skipping: Callable[[Account], tuple[str, ...]] | None = None
    environ: Callable[[Account], dict[str, str]] = lambda _: {}
    looks_first: bool = False
    suffixes: tuple[str, ...] = field(default=WHEEL_AND_SDIST, init=False)

    @property
    def can_skip(self) -> bool:
        """See L{Publisher.can_skip}."""
        return self.skipping is not None

    def prepare(self, folder: Path, name: str, version: str) -> None:
        """See L{Publisher.prepare}."""
        (folder / "dist").mkdir(parents=True)
        # poetry and pdm read it although the files are there.
        (folder / "pyproject.toml").write_text(
            f'[project]\nname = "{name}"\nversion = "{version}"\nrequires-python = ">=3.8"\n'
        )
        self._write(folder, name, version)

    def change(self, folder: Path, name: str, version: str) -> None:
        """See L{Publisher.change}."""
        self._write(folder, name, version, extra=[(f"{name.replace('-', '_')}/changed.py", _CHANGED)])

    def _write(self, folder: Path, name: str, version: str, extra: Iterable[tuple[str, bytes]] = ()) -> None:
        for make in (make_sdist, make_wheel):
            filename, content = make(name, version, extra=extra)
            (folder / "dist" / filename).write_bytes(content)

    def publish(self, folder: Path, account: Account, skip: bool = False) -> CompletedProcess[str]:
        """See L{Publisher.publish}."""
        options: tuple[str, ...] = ()
        if skip:
            assert self.skipping is not None, f"{self.client} has no such option"
            options = self.skipping(account)
        files = tuple(str(path.relative_to(folder)) for path in files_of(folder))
        # Options go behind the subcommand, which is the first argument of all of these tools.
        subcommand, *arguments = self.command(account, files)
        return run(
            self.client, subcommand, *options, *arguments, home=home_of(folder), cwd=folder,
            environ=self.environ(account),
        )  # fmt: skip

    def publish_again(self, folder: Path, account: Account) -> CompletedProcess[str]:
        """See L{Publisher.publish_again}."""
        return self.publish(folder, account)


def _twine(account: Account, files: tuple[str, ...]) -> tuple[str, ...]:
    where = ("--non-interactive", "--repository-url", account.upload_url, "-u", account.user, "-p", account.password)
    return ("upload", "--disable-progress-bar", *where, *files)


def _uv(account: Account, files: tuple[str, ...]) -> tuple[str, ...]:
    return ("publish", "--publish-url", account.upload_url, "-u", account.user, "-p", account.password, *files)


def _hatch(account: Account, files: tuple[str, ...]) -> tuple[str, ...]:
    who = ("--user", account.user, "--auth", account.password)
    return ("publish", "--no-prompt", "--repo", account.upload_url, *who, *files)


def _pdm(account: Account, _: tuple[str, ...]) -> tuple[str, ...]:
    who = ("--username", account.user, "--password", account.password)
    return ("publish", "--no-build", "--repository", account.upload_url, *who)


def _pdm_environ(_: Account) -> dict[str, str]:
    return {"PDM_CHECK_UPDATE": "false", "PDM_PYTHON": sys.executable, "PDM_USE_VENV": "false"}


def _poetry(account: Account, _: tuple[str, ...]) -> tuple[str, ...]:
    who = ("--username", account.user, "--password", account.password)
    return ("publish", "--no-interaction", "--repository", "cheddar", *who)


def _poetry_environ(account: Account) -> dict[str, str]:
    return {"POETRY_REPOSITORIES_CHEDDAR_URL": account.upload_url, "POETRY_VIRTUALENVS_CREATE": "false"}


def _skip_existing(_: Account) -> tuple[str, ...]:
    return ("--skip-existing",)


def _check_url(account: Account) -> tuple[str, ...]:
    return ("--check-url", f"{account.url}simple/")


@frozen
class Flit:
    """flit builds what it publishes, each time."""

    client: str = "flit"
    suffixes: tuple[str, ...] = WHEEL_AND_SDIST
    can_skip: bool = False
    looks_first: bool = False

    def prepare(self, folder: Path, name: str, version: str) -> None:
        """See L{Publisher.prepare}."""
        folder.mkdir(parents=True)
        module = name.replace("-", "_")
        (folder / f"{module}.py").write_text(f'"""A module."""\n__version__ = "{version}"\n')
        (folder / "pyproject.toml").write_text(
            '[build-system]\nrequires = ["flit_core"]\nbuild-backend = "flit_core.buildapi"\n'
            f'[project]\nname = "{name}"\nauthors = [{{name = "A", email = "a@example.org"}}]\n'
            f'dynamic = ["version", "description"]\n[tool.flit.module]\nname = "{module}"\n'
        )

    def change(self, folder: Path, name: str, version: str) -> None:
        """See L{Publisher.change}."""
        with (folder / f"{name.replace('-', '_')}.py").open("ab") as module:
            module.write(_CHANGED)

    def publish(self, folder: Path, account: Account, skip: bool = False) -> CompletedProcess[str]:
        """See L{Publisher.publish}."""
        assert not skip
        return run(
            "flit", "publish", home=home_of(folder), cwd=folder,
            environ={
                "FLIT_INDEX_URL": account.upload_url,
                "FLIT_USERNAME": account.user,
                "FLIT_PASSWORD": account.password,
                # It would ask the public index which classifiers there are.
                "FLIT_NO_NETWORK": "1",
                # The same sources give the same bytes.
                "SOURCE_DATE_EPOCH": "1700000000",
            },
        )  # fmt: skip

    def publish_again(self, folder: Path, account: Account) -> CompletedProcess[str]:
        """See L{Publisher.publish_again}."""
        return self.publish(folder, account)


@frozen
class SetupPy:
    """
    C{python setup.py sdist upload}, as the original's README has it.

    @ivar package: whose commands they are: C{setuptools} or C{distutils}.
    @ivar interpreter: options of Python itself.
    """

    client: str
    package: str
    builds: tuple[str, ...]
    suffixes: tuple[str, ...]
    interpreter: tuple[str, ...] = ()
    can_skip: bool = False
    looks_first: bool = False

    def prepare(self, folder: Path, name: str, version: str) -> None:
        """See L{Publisher.prepare}."""
        folder.mkdir(parents=True)
        module = name.replace("-", "_")
        core = "setuptools" if self.package == "setuptools" else "distutils.core"
        # The copy in setuptools tells nobody what the server said, unless a log is set up.
        loud = "" if OLD else "import logging\nlogging.basicConfig(level=logging.INFO)\n"
        (folder / f"{module}.py").write_text("x = 1\n")
        (folder / "setup.py").write_text(
            f"{loud}from {core} import setup\n"
            f"setup(name={name!r}, version={version!r}, py_modules=[{module!r}], description='Käse',"
            " url='http://e.example', author='A', author_email='a@example.org',"
            " classifiers=['Programming Language :: Python :: 3'], keywords=['a', 'b'])\n"
        )
        # Their `upload` wants the command that built a file on the same line, and builds no bytes twice: this has the
        # same command take what stands in dist.
        (folder / "again.py").write_text(
            "import os\n"
            f"from {core} import setup\n"
            f"from {self.package}.command.upload import upload\n"
            "class upload_again(upload):\n"
            "    def run(self):\n"
            "        for name in sorted(os.listdir('dist')):\n"
            "            kind = ('bdist_wheel', 'py3') if name.endswith('.whl') else ('sdist', '')\n"
            "            self.distribution.dist_files.append((*kind, os.path.join('dist', name)))\n"
            "        upload.run(self)\n"
            f"setup(name={name!r}, version={version!r}, py_modules=[{module!r}],"
            " cmdclass={'upload_again': upload_again})\n"
        )

    def change(self, folder: Path, name: str, version: str) -> None:
        """See L{Publisher.change}."""
        (folder / f"{name.replace('-', '_')}.py").write_bytes(_CHANGED)
        # Within a second of the build before it would not be seen that the module is newer.
        shutil.rmtree(folder / "build", ignore_errors=True)

    def publish(self, folder: Path, account: Account, skip: bool = False) -> CompletedProcess[str]:
        """See L{Publisher.publish}."""
        assert not skip
        return self.setup("setup.py", folder, account, *self.builds, "upload", "-r", "cheddar")

    def publish_again(self, folder: Path, account: Account) -> CompletedProcess[str]:
        """See L{Publisher.publish_again}."""
        return self.setup("again.py", folder, account, "upload_again", "-r", "cheddar")

    def setup(self, script: str, folder: Path, account: Account, *commands: str) -> CompletedProcess[str]:
        """C{python setup.py}, or another script like it, with some commands."""
        home = home_of(folder)
        home.mkdir(exist_ok=True)
        # As the original's README has it: no slash at the address's end.
        (home / ".pypirc").write_text(
            "[distutils]\nindex-servers =\n    cheddar\n\n"
            f"[cheddar]\nrepository:{account.url}pypi\nusername:{account.user}\npassword:{account.password}\n"
        )
        return run(
            self.client, *self.interpreter, script, *commands, home=home, cwd=folder, program="python"
        )  # fmt: skip


# Python without site-packages: setuptools would put its own copy in the place of distutils. Later Pythons have no
# other than that copy.
_DISTUTILS = SetupPy("distutils", "distutils", ("sdist",), (".tar.gz",), ("-S",) if OLD else ())
_SETUPTOOLS = (
    SetupPy("setuptools", "setuptools", ("sdist", "bdist_wheel"), WHEEL_AND_SDIST)
    if OLD
    else SetupPy("setuptools", "distutils", ("sdist",), (".tar.gz",))
)

_ALL: tuple[Publisher, ...] = (
    Uploader("twine", _twine),
    Uploader("twine-6.1", _twine, _skip_existing),
    Uploader("twine-3", _twine, _skip_existing),
    Uploader("uv", _uv, _check_url),
    Uploader("poetry", _poetry, _skip_existing, _poetry_environ),
    Uploader("pdm", _pdm, _skip_existing, _pdm_environ),
    Uploader("hatch", _hatch, looks_first=True),
    Flit(),
    _SETUPTOOLS,
    _DISTUTILS,
)

PUBLISHERS = {publisher.client: publisher for publisher in _ALL}


def register(client: str, folder: Path, account: Account) -> CompletedProcess[str]:
    """What the old tools did before the first upload of a project; the folder holds a prepared one."""
    publisher = PUBLISHERS[client]
    if isinstance(publisher, SetupPy):
        return publisher.setup("setup.py", folder, account, "register", "-r", "cheddar")
    (wheel,) = (folder / "dist").glob("*.whl")
    return run(
        client, "register", "--non-interactive", "--repository-url", account.upload_url, "-u", account.user, "-p",
        account.password, str(wheel), home=home_of(folder),
    )  # fmt: skip
