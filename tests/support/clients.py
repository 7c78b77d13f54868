"""
Real clients, each in an environment of its own below C{.clients/}, made when a test first asks for it.

What is installed is pinned: a client's new version is taken up on purpose.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
CLIENTS = ROOT / ".clients"

OLD = sys.version_info < (3, 12)

#: The oldest pips that this Python runs. The first two read HTML only: the one with html5lib, the other with the
#: standard library's parser.
OLD_PIPS = {"pip-20.3": "pip==20.3.4", "pip-22.1": "pip==22.1.2"} if OLD else {"pip-23.1": "pip==23.1.2"}

# The last setuptools with upload and register; its distutils is the standard library's, which ended with 3.11.
# On later Pythons the commands of the distutils that setuptools carried on stand in.
_SETUPTOOLS = ("setuptools==41.6.0", "wheel==0.37.1") if OLD else ("setuptools==69.5.1", "wheel==0.43.0")

REQUIREMENTS: Mapping[str, tuple[str, ...]] = {
    "pip": ("pip==26.3", "setuptools==80.9.0", "wheel==0.45.1"),
    **{name: (pip, "setuptools==80.9.0", "wheel==0.45.1") for name, pip in OLD_PIPS.items()},
    "uv": ("uv==0.13.9",),
    "twine": ("twine==7.0.0",),
    # The last that takes --skip-existing for an index that is not the public one.
    "twine-6.1": ("twine==6.1.0",),
    # Of 2022, with the requests and the reader of metadata of its time (it forgets to ask for packaging).
    "twine-3": ("twine==3.8.0", "packaging==21.3", "pkginfo==1.8.3", "requests==2.27.1", "urllib3==1.26.20"),
    "poetry": ("poetry==2.5.1",),
    # With the dependencies that its authors released it with: it does not work with the newest of them.
    "pdm": ("pdm[locked]==2.29.0",),
    "hatch": ("hatch==1.18.2",),
    "pip-tools": ("pip-tools==7.6.2", "pip==26.3", "setuptools==80.9.0", "wheel==0.45.1"),
    "flit": ("flit==4.2.0",),
    # What mirrors, and what reads pages for scripts.
    "bandersnatch": ("bandersnatch==6.8.0",),
    "pypi-simple": ("pypi-simple==1.8.0",),
    "mousebender": ("mousebender==2025.1",),
    # Asks for all that a description of an HTTP surface allows, and more.
    "schemathesis": ("schemathesis==4.32.5",),
    "setuptools": _SETUPTOOLS,
    # Python's own; where it has none any more, the copy in setuptools stands in.
    "distutils": _SETUPTOOLS,
}


def title(name: str) -> str:
    """A client and its version, as people write it."""
    if name == "distutils" and OLD:
        return f"distutils of Python {sys.version_info[0]}.{sys.version_info[1]}"
    return REQUIREMENTS[name][0].replace("==", " ")


# What configures a client by the environment.
_CONFIGURING = ("PIP_", "UV_", "TWINE_", "POETRY_", "FLIT_", "PDM_", "HATCH_", "XDG_", "VIRTUAL_ENV", "PYTHON")


def _python(environment: Path) -> Path:
    return environment / "bin" / "python"


def environment(name: str) -> Path:
    """The folder of the programs of a client's environment, made if it is not there."""
    requirements = REQUIREMENTS[name]
    folder = CLIENTS / f"{name}-{sys.version_info[0]}.{sys.version_info[1]}"
    stamp = folder / "installed"
    if not stamp.exists() or stamp.read_text() != "\n".join(requirements):
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
        done = subprocess.run(
            [str(_python(folder)), "-m", "pip", "install", "--quiet", *requirements],
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{name} could not be installed:\n{done.stdout}{done.stderr}"
        stamp.write_text("\n".join(requirements))
    return folder / "bin"


def run(
    name: str,
    *arguments: str,
    home: Path,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
    program: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """
    Run a client as somebody with an empty home would: no configuration, no cache, no index but the one it is given.

    @param home: an own home folder.
    @param program: what to run of its environment; the client itself unless said.
    """
    folder = environment(name)
    home.mkdir(parents=True, exist_ok=True)
    kept = {key: value for key, value in os.environ.items() if not key.upper().startswith(_CONFIGURING)}
    settings = {
        "HOME": str(home),
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "UV_NO_CONFIG": "1",
        "UV_CACHE_DIR": str(home / "uv-cache"),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        "NO_COLOR": "1",
        "COLUMNS": "200",
    }
    return subprocess.run(
        [str(folder / (program or name.partition("-")[0])), *arguments],
        env={**kept, **settings, **(environ or {})},
        cwd=cwd or home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def output(done: subprocess.CompletedProcess[str]) -> str:
    """All that a client said, for an assertion's message."""
    return f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
