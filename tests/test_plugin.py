"""Cheddar as a wheel and as a plugin of twistd: installed, listed, explained, uninstalled."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
OPTIONS = ("--port", "--listen", "--data-dir", "--settings", "--index-url", "--redis")


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run to the end, away from the checkout and from the environment's settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CHEDDAR_", "PYTHON", "PIP_"))}
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**kept, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


def done(*command: str | Path, cwd: Path) -> str:
    """Run, insist that it worked, and give what it printed."""
    result = run(*command, cwd=cwd)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of what it is made of: a build leaves folders behind."""
    source = tmp_path_factory.mktemp("source")
    for name in ("cheddar", "twisted", "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "dropin.cache"))
    for name in ("setup.cfg", "setup.py", "README.rst", "LICENSE"):
        shutil.copy(ROOT / name, source)
    built = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet")
    done(*pip, "--no-deps", "--no-build-isolation", "--use-pep517", "--wheel-dir", built, source, cwd=built)
    (file,) = built.iterdir()
    return file


@attrs.frozen
class Environment:
    """A virtual environment of its own."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def packages(self) -> Path:
        (found,) = (self.folder / "lib").glob("python3.*/site-packages")
        return found

    def pip(self, *arguments: str | Path) -> str:
        return done(sys.executable, "-m", "pip", "--python", self.python, *arguments, cwd=self.folder)

    def twistd(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run(self.folder / "bin" / "twistd", *arguments, cwd=self.folder)


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """
    A fresh environment with Cheddar's dependencies and without Cheddar, made without a download: Twisted is copied, so
    that what an installation does to it shows; all else is linked.
    """
    made = Environment(tmp_path / "venv")
    venv.create(made.folder, symlinks=True)
    links = tmp_path / "links"
    links.mkdir()
    (here,) = {Path(entry) for entry in sys.path if entry.endswith("site-packages") and entry.startswith(sys.prefix)}
    for entry in here.iterdir():
        name = entry.name.lower()
        if name == "twisted" or re.match(r"twisted-\d", name):
            ignored = shutil.ignore_patterns("test", "__pycache__", "dropin.cache")
            shutil.copytree(entry, made.packages / entry.name, ignore=ignored)
        elif not name.startswith(("cheddar", "__editable__", "pip")) and entry.suffix != ".pth":
            (links / entry.name).symlink_to(entry)
    (made.packages / "links.pth").write_text(f"{links}\n")
    script = made.folder / "bin" / "twistd"
    script.write_text(f"#!{made.python}\nimport sys\nfrom twisted.scripts.twistd import run\nsys.exit(run())\n")
    script.chmod(0o755)
    return made


def listed(lines: str) -> Sequence[str]:
    """The subcommands that `twistd --help` lists."""
    return re.findall(r"^    (\S+) +\S", lines.partition("Commands:")[2], re.MULTILINE)


def test_the_wheel_holds_all_that_runs_and_nothing_else(wheel: Path) -> None:
    """Templates, static files, type marker and plugin are in it; tests, and a twisted package, are not."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = [archive.read(name).decode() for name in names if name.endswith(".dist-info/METADATA")]
    folder = ROOT / "cheddar"
    wanted = {
        str(path.relative_to(ROOT))
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }
    assert any(name.startswith("cheddar/web/templates/") for name in wanted)
    assert any(name.startswith("cheddar/web/static/") for name in wanted)
    assert wanted - names == set()
    assert {name for name in names if name.startswith("twisted")} == {"twisted/plugins/cheddar_plugin.py"}
    tops = {name.split("/")[0] for name in names}
    (information,) = tops - {"cheddar", "twisted"}
    assert information.endswith(".dist-info")
    assert f"{information}/licenses/LICENSE" in names
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    assert "\nRequires-Python: >=3.10\n" in metadata
    assert "make serve" in metadata


@pytest.mark.deadline(120)
def test_a_wheel_installs_runs_and_leaves_twisted_as_it_was(wheel: Path, environment: Environment) -> None:
    """After `pip install`, twistd has the subcommand; after `pip uninstall` it has not, and works as before."""
    before = listed(environment.twistd("--help").stdout)
    assert "web" in before
    assert "cheddar" not in before
    environment.pip("install", "--quiet", "--no-deps", wheel)
    assert "cheddar" in listed(environment.twistd("--help").stdout)

    help_text = environment.twistd("cheddar", "--help").stdout
    for option in OPTIONS:
        # An option, and words that explain it.
        assert re.search(rf"{option}= +[A-Z]\w*[^=]{{20,}}", help_text), f"{option} is not explained:\n{help_text}"
    version = done(environment.folder / "bin" / "cheddar", "--version", cwd=environment.folder)
    assert re.fullmatch(r"Cheddar \d+\.\S+\n", version)

    environment.pip("uninstall", "--quiet", "--yes", "cheddar")
    assert listed(environment.twistd("--help").stdout) == before
    assert not (environment.packages / "cheddar").exists()
    done(environment.python, "-c", "import twisted.web.server, twisted.plugins", cwd=environment.folder)


def test_an_editable_installation_has_the_plugin_too(tmp_path: Path) -> None:
    """`pip install -e .`, as in this checkout, does not hide the plugin from twistd."""
    assert "cheddar" in listed(done(BIN / "twistd", "--help", cwd=tmp_path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prot", "1"], "twistd cheddar: option --prot not recognized; did you mean --port?\n"),
        (["--port", "http"], "twistd cheddar: --port: must be a whole number of 1 or more, and is 'http'\n"),
        (["--settings", "no.toml"], "twistd cheddar: no.toml: cannot be read: No such file or directory\n"),
        (["serve"], "twistd cheddar: unexpected argument 'serve'\n"),
    ],
)
def test_a_wrong_command_line_is_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    """A mistake ends twistd at once, with one line that says what is wrong and what may be meant."""
    result = run(BIN / "twistd", "--nodaemon", "--pidfile=", "cheddar", *arguments, cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (1, "", message)
