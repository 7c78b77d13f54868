"""
Installers, each behind the same few methods, so that a scenario is written once.

Every one has a home of its own, with its caches empty at first; every installation is into an environment that is new.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess
from typing import Protocol
from urllib.parse import urlsplit

from attrs import Factory, define
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.clients import OLD_PIPS, environment, run


class Installer(Protocol):
    """
    A client that installs.

    @ivar name: of L{tests.support.clients.REQUIREMENTS}.
    @ivar environ: more variables for its environment.
    """

    name: str
    environ: Mapping[str, str]

    @property
    def home(self) -> Path:
        """Its home folder, with its settings and caches."""

    def install(
        self, index: str, *requirements: str, pre: bool = False, before: str | None = None
    ) -> CompletedProcess[str]:
        """
        Install into a new environment, from this index alone.

        @param pre: pre-releases too.
        @param before: only what was uploaded before this moment (ISO 8601, UTC).
        """

    def installed(self) -> dict[str, str]:
        """What the last installation put there: versions by normalized name."""


class Locker(Installer, Protocol):
    """A client that writes down what it found, with digests, and installs that and nothing else."""

    def lock(self, index: str, *requirements: str) -> str:
        """Resolve, and install nothing. @return: the text of the lock file, with digests."""

    def install_locked(self, index: str, lock: str, *requirements: str) -> CompletedProcess[str]:
        """Install what L{lock} returned for these requirements, into a new environment."""


@define
class Client:
    """
    What all have.

    @ivar folder: an own one; the home is in it, and so are the caches.
    @ivar environ: more variables for its environment.
    """

    name: str
    folder: Path
    environ: Mapping[str, str] = Factory(dict)
    _turns: int = 0

    @property
    def home(self) -> Path:
        """Its home folder."""
        folder = self.folder / "home"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def turn(self) -> Path:
        """The folder of the installation begun last: its project, if it has one, and its environment."""
        return self.folder / str(self._turns)

    def begin(self) -> Path:
        """A new, empty folder for the next installation."""
        self._turns += 1
        self.turn.mkdir(parents=True)
        return self.turn

    def run(self, *arguments: str, program: str | None = None, **environ: str) -> CompletedProcess[str]:
        """Run it in the folder of this turn."""
        # The fewest retries with which each says why: tests do not wait for what is down.
        retries = {"PIP_RETRIES": "1", "UV_HTTP_RETRIES": "0"}
        return run(
            self.name,
            *arguments,
            home=self.home,
            cwd=self.turn,
            environ={**retries, **self.environ, **environ},
            program=program,
        )

    def installed(self) -> dict[str, str]:
        """See L{Installer}."""
        found = {}
        for path in self.turn.rglob("*.dist-info"):
            name, _, version = path.name.removesuffix(".dist-info").partition("-")
            found[str(canonicalize_name(name))] = version
        return found

    def new_environment(self) -> Path:
        """A virtual environment with nothing in it, for clients that want one."""
        folder = self.turn / "environment"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        return folder


@define
class Pip(Client):
    """pip of any age. Over C{http} it keeps no pages in its cache."""

    def install(
        self, index: str, *requirements: str, pre: bool = False, before: str | None = None
    ) -> CompletedProcess[str]:
        """See L{Installer}."""
        self.begin()
        return self._install(index, *(["--pre"] if pre else []), *_given("--uploaded-prior-to", before), *requirements)

    def install_locked(self, index: str, lock: str, *requirements: str) -> CompletedProcess[str]:
        """Install a requirements file, from C{pip-compile} for one, with C{--require-hashes}."""
        (self.begin() / "requirements.txt").write_text(lock)
        return self._install(index, "--require-hashes", "-r", "requirements.txt")

    def _install(self, index: str, *arguments: str) -> CompletedProcess[str]:
        return self.run("install", "--index-url", index, "--target", "lib", *arguments)


@define
class PipTools(Client):
    """C{pip-compile}; the pip beside it installs what that wrote."""

    def install(
        self, index: str, *requirements: str, pre: bool = False, before: str | None = None
    ) -> CompletedProcess[str]:
        """See L{Installer}."""
        self.begin()
        compiled = self._compile(
            index, requirements, *(["--pre"] if pre else []), *_given("--uploaded-prior-to", before)
        )
        return compiled if compiled.returncode else self._install(index)

    def lock(self, index: str, *requirements: str) -> str:
        """See L{Locker}."""
        self.begin()
        return _written(self._compile(index, requirements, "--generate-hashes"), self.turn / "requirements.txt")

    def install_locked(self, index: str, lock: str, *requirements: str) -> CompletedProcess[str]:
        """See L{Locker}."""
        (self.begin() / "requirements.txt").write_text(lock)
        return self._install(index, "--require-hashes")

    def _compile(self, index: str, requirements: Sequence[str], *options: str) -> CompletedProcess[str]:
        (self.turn / "requirements.in").write_text("\n".join(requirements))
        return self.run(
            "--no-emit-index-url", "--no-strip-extras", "--index-url", index, *options,
            "--output-file", "requirements.txt", "requirements.in", program="pip-compile",
        )  # fmt: skip

    def _install(self, index: str, *options: str) -> CompletedProcess[str]:
        return self.run(
            "install", "--no-deps", "--index-url", index, "--target", "lib", *options, "-r", "requirements.txt",
            program="pip",
        )  # fmt: skip


@define
class Uv(Client):
    """C{uv pip}."""

    def install(
        self, index: str, *requirements: str, pre: bool = False, before: str | None = None
    ) -> CompletedProcess[str]:
        """See L{Installer}."""
        self.begin()
        asked = (*(["--prerelease", "allow"] if pre else []), *_given("--exclude-newer", before))
        return self._pip("install", index, "--target", "lib", *asked, *requirements)

    def lock(self, index: str, *requirements: str) -> str:
        """See L{Locker}."""
        (self.begin() / "requirements.in").write_text("\n".join(requirements))
        done = self._pip("compile", index, "--generate-hashes", "-o", "requirements.txt", "requirements.in")
        return _written(done, self.turn / "requirements.txt")

    def install_locked(self, index: str, lock: str, *requirements: str) -> CompletedProcess[str]:
        """See L{Locker}."""
        (self.begin() / "requirements.txt").write_text(lock)
        return self._pip("install", index, "--target", "lib", "--require-hashes", "-r", "requirements.txt")

    def _pip(self, command: str, index: str, *arguments: str) -> CompletedProcess[str]:
        # A name, for UV_INDEX_CHEDDAR_USERNAME. The address is the only default there is.
        return self.run(
            "pip", command, "--default-index", f"cheddar={index}", *arguments,
            UV_PYTHON=str(environment("uv") / "python"),
        )  # fmt: skip


@define
class UvProject(Client):
    """C{uv lock} and C{uv sync}, which keep a C{uv.lock}."""

    def install(
        self, index: str, *requirements: str, pre: bool = False, before: str | None = None
    ) -> CompletedProcess[str]:
        """See L{Installer}."""
        self._write_project(index, requirements)
        return self._uv("sync", *(["--prerelease", "allow"] if pre else []), *_given("--exclude-newer", before))

    def lock(self, index: str, *requirements: str) -> str:
        """See L{Locker}."""
        self._write_project(index, requirements)
        return _written(self._uv("lock"), self.turn / "uv.lock")

    def install_locked(self, index: str, lock: str, *requirements: str) -> CompletedProcess[str]:
        """See L{Locker}."""
        self._write_project(index, requirements)
        (self.turn / "uv.lock").write_text(lock)
        return self._uv("sync", "--locked")

    def _write_project(self, index: str, requirements: Sequence[str]) -> None:
        project = _project(requirements) + f'[[tool.uv.index]]\nname = "cheddar"\nurl = "{index}"\ndefault = true\n'
        (self.begin() / "pyproject.toml").write_text(project)

    def _uv(self, command: str, *arguments: str) -> CompletedProcess[str]:
        # UV_NO_CONFIG would hide the project's own table.
        return self.run(
            command, *arguments, program="uv", UV_NO_CONFIG="0", UV_PYTHON=sys.executable,
            UV_PYTHON_DOWNLOADS="never",
        )  # fmt: skip


@define
class Poetry(Client):
    """A project with Cheddar as poetry's only source. As of a day is said in whole days before now."""

    def install(
        self, index: str, *requirements: str, pre: bool = False, before: str | None = None
    ) -> CompletedProcess[str]:
        """See L{Installer}. C{before} is a number of days: the least age of a file."""
        self._write_project(index, requirements, pre)
        age = {"POETRY_SOLVER_MIN_RELEASE_AGE": before} if before else {}
        return self._poetry("install", **age)

    def lock(self, index: str, *requirements: str) -> str:
        """See L{Locker}."""
        self._write_project(index, requirements)
        return _written(self._poetry("lock"), self.turn / "poetry.lock")

    def install_locked(self, index: str, lock: str, *requirements: str) -> CompletedProcess[str]:
        """See L{Locker}."""
        self._write_project(index, requirements)
        (self.turn / "poetry.lock").write_text(lock)
        return self._poetry("sync")

    def _write_project(self, index: str, requirements: Sequence[str], pre: bool = False) -> None:
        asked = "".join(f"{Requirement(text).name} = {{allow-prereleases = true}}\n" for text in requirements if pre)
        (self.begin() / "pyproject.toml").write_text(
            f"{_project(requirements)}[tool.poetry]\npackage-mode = false\n"
            f"[tool.poetry.dependencies]\n{asked}"
            f'[[tool.poetry.source]]\nname = "cheddar"\nurl = "{index}"\npriority = "primary"\n'
        )

    def _poetry(self, command: str, **environ: str) -> CompletedProcess[str]:
        into = self.new_environment()
        return self.run(command, "--no-interaction", VIRTUAL_ENV=str(into), **environ)


@define
class Pdm(Client):
    """A project of pdm, with Cheddar in the place of its default source."""

    def install(
        self, index: str, *requirements: str, pre: bool = False, before: str | None = None
    ) -> CompletedProcess[str]:
        """See L{Installer}."""
        self._write_project(requirements, pre, before)
        return self._pdm("install", index)

    def lock(self, index: str, *requirements: str) -> str:
        """See L{Locker}."""
        self._write_project(requirements)
        return _written(self._pdm("lock", index), self.turn / "pdm.lock")

    def install_locked(self, index: str, lock: str, *requirements: str) -> CompletedProcess[str]:
        """See L{Locker}."""
        self._write_project(requirements)
        (self.turn / "pdm.lock").write_text(lock)
        return self._pdm("sync", index)

    def _write_project(self, requirements: Sequence[str], pre: bool = False, before: str | None = None) -> None:
        rules = "allow-prereleases = true\n" if pre else ""
        rules += f'exclude-newer = "{before}"\n' if before else ""
        (self.begin() / "pyproject.toml").write_text(
            f"{_project(requirements)}[tool.pdm]\ndistribution = false\n[tool.pdm.resolution]\n{rules}"
        )

    def _pdm(self, command: str, index: str) -> CompletedProcess[str]:
        into = self.new_environment()
        # Without -v it does not say what is wrong.
        return self.run(
            command, "-v", PDM_CHECK_UPDATE="false", PDM_PYPI_URL=index,
            PDM_PYTHON=str(into / "bin" / "python"),
        )  # fmt: skip


@define
class Hatch(Client):
    """An environment of a hatch project; the pip in it installs."""

    def install(
        self, index: str, *requirements: str, pre: bool = False, before: str | None = None
    ) -> CompletedProcess[str]:
        """See L{Installer}."""
        assert not pre
        assert before is None
        (self.begin() / "pyproject.toml").write_text(
            f"{_project(())}[tool.hatch.envs.default]\npath = 'environment'\ndetached = true\n"
            f"dependencies = {list(requirements)}\n"
        )
        return self.run("env", "create", PIP_INDEX_URL=index, HATCH_PYTHON=sys.executable)


@define
class EasyInstall(Client):
    """The C{easy_install} of an old setuptools: it reads HTML, and makes eggs of what it installs."""

    def install(
        self, index: str, *requirements: str, pre: bool = False, before: str | None = None
    ) -> CompletedProcess[str]:
        """See L{Installer}."""
        assert not pre
        assert before is None
        (self.begin() / "lib").mkdir()
        command = ["easy_install", "--multi-version", "--install-dir", "lib", "--index-url", index, *requirements]
        return self.run(
            "-c", f"from setuptools import setup; setup(script_args={command})", program="python", PYTHONPATH="lib"
        )

    def installed(self) -> dict[str, str]:
        """See L{Installer}."""
        eggs = [path.name.split("-") for path in self.turn.glob("lib/*.egg")]
        return {str(canonicalize_name(name)): version for name, version, *_ in eggs}


INSTALLERS: Mapping[str, Callable[[Path], Installer]] = {
    **{name: partial(Pip, name) for name in ("pip", *OLD_PIPS)},
    "pip-tools": partial(PipTools, "pip-tools"),
    "uv": partial(Uv, "uv"),
    "poetry": partial(Poetry, "poetry"),
    "pdm": partial(Pdm, "pdm"),
    "hatch": partial(Hatch, "hatch"),
    "setuptools": partial(EasyInstall, "setuptools"),
}


def with_login(index: str, user: str, password: str) -> str:
    """The address with a login in it."""
    parts = urlsplit(index)
    return parts._replace(netloc=f"{user}:{password}@{parts.netloc}").geturl()


def _given(option: str, value: str | None) -> list[str]:
    return [] if value is None else [option, value]


def _project(requirements: Sequence[str]) -> str:
    listed = ", ".join(f'"{text}"' for text in requirements)
    return f'[project]\nname = "project"\nversion = "1.0"\nrequires-python = ">=3.9"\ndependencies = [{listed}]\n'


def _written(done: CompletedProcess[str], lock: Path) -> str:
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return lock.read_text()
