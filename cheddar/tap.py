"""What C{twistd cheddar} is: its options, and the service it runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from twisted.application.service import IService
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.strcred import AuthOptionMixin
from twisted.logger import Logger
from twisted.python import usage

from cheddar import __version__, logs
from cheddar.errors import SettingsError
from cheddar.settings import Loaded, load, nearest


class Options(usage.Options, AuthOptionMixin):
    """
    The command line of C{twistd cheddar}. Once parsed, C{loaded} holds the settings in force, and C{given} what was
    written.
    """

    synopsis = "[options]"
    longdesc = (
        "Serves a Python package index: local projects, a caching proxy of another index, and both together. "
        "Every setting can also stand in a TOML file or in the environment, as CHEDDAR_ and its name; an option "
        "overrides both. `cheddar settings` shows what is in force and where it came from."
    )
    optParameters = [
        ["port", "p", None, "The TCP port to serve HTTP on, on all addresses. [default: 5000]"],
        ["data-dir", None, None, "The directory that everything is kept below. [default: var]"],
        ["settings", None, None, "The settings file. [default: what CHEDDAR_SETTINGS names, if set]"],
        [
            "index-url",
            None,
            None,
            "The Simple API of the index that is proxied and cached; empty for local projects only. "
            "[default: the public index]",
        ],
        ["workers", None, None, "How many processes serve, or auto: one for each processor. [default: 1]"],
        [
            "redis",
            None,
            None,
            "Keep metadata in this Redis (redis://, rediss:// or unix://) and not in the embedded store below the "
            "data directory.",
        ],
    ]
    compData = usage.Completions(
        optActions={
            "data-dir": usage.CompleteDirs(),
            "settings": usage.CompleteFiles(),
        }
    )

    supportedInterfaces = (IUsernamePassword,)

    loaded: Loaded
    given: tuple[str, ...]

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        """
        @param environ: the environment that settings come from; None: the process's own.
        """
        super().__init__()
        self["listen"] = []
        self["auth"] = []
        self._environ = os.environ if environ is None else environ

    def opt_listen(self, endpoint: str) -> None:
        """
        A Twisted endpoint to serve on in place of --port: tcp:, ssl:, unix: or systemd:. May be given several times.
        """
        self["listen"].append(endpoint)

    def opt_auth(self, checker: str) -> None:
        """Who else may log in: file:/path (lines of name:password), or what --help-auth lists. As often as needed."""
        # The mixin would make the checker now: it is made with the service, like those of the settings file.
        self["auth"].append(checker)

    def opt_version(self) -> None:
        """Print Cheddar's version and exit."""
        sys.stdout.write(f"Cheddar {__version__}\n")
        sys.exit(0)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Parse the command line; a mistake ends the process with one line (twistd would print its own help before it).
        """
        self.given = tuple(sys.argv[1:] if options is None else options)
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            sys.exit(f"twistd cheddar: {self._with_hint(str(error))}")

    def postOptions(self) -> None:
        """Put the settings together. [UsageError]"""
        options = {
            name: self[option]
            for name, option in (
                ("port", "port"),
                ("data_dir", "data-dir"),
                ("index_url", "index-url"),
                ("redis_url", "redis"),
                ("workers", "workers"),
            )
            if self[option] is not None
        }
        options.update({name: self[name] for name in ("listen", "auth") if self[name]})
        file = Path(self["settings"]) if self["settings"] else None
        try:
            self.loaded = load(file=file, environ=self._environ, options=options)
        except SettingsError as error:
            raise usage.UsageError(str(error)) from error

    def parseArgs(self, *arguments: str) -> None:
        """There are none. [UsageError]"""
        if arguments:
            raise usage.UsageError(f"unexpected argument {arguments[0]!r}")

    def _with_hint(self, message: str) -> str:
        """getopt's C{option --prot not recognized}, and the nearest option there is."""
        words = message.split()
        if message.endswith("not recognized") and words[1].startswith("--"):
            return message + nearest(words[1], ("--" + option.rstrip("=") for option in self.longOpt))
        return message


def makeService(options: Options) -> IService:
    """The service that C{options} ask for; settings that cannot be used end the process with one line."""
    # Imported here: twistd has chosen and installed a reactor by now, and --help needs none of it.
    from twisted.internet import reactor

    logs.begin()
    log = Logger()
    for warning in options.loaded.warnings:
        log.warn("{warning}", warning=warning)
    settings = options.loaded.settings
    if settings.workers > 1:
        from cheddar.supervisor import Supervisor

        return Supervisor(settings, reactor, options.given, logs_elsewhere=_logs_elsewhere(options.parent))
    from cheddar.service import make_lasting_service

    try:
        return make_lasting_service(settings, reactor)
    except SettingsError as error:
        sys.exit(f"twistd cheddar: {error}")


def _logs_elsewhere(twistd: Mapping[str, object] | None) -> bool:
    """
    Whether twistd was told to log to something else than its standard output.

    @param twistd: its own options; None: nobody knows.
    """
    if twistd is None:
        return False
    file = twistd.get("logfile")
    return bool((file and file != "-") or twistd.get("syslog") or twistd.get("logger"))


def service_from_environment() -> IService:
    """The same service for C{cheddar.tac}, where there is no command line."""
    options = Options()
    options.parseOptions([])
    return makeService(options)
