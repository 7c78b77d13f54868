"""The rules of the house that a machine can check."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "cheddar"
MODULES = sorted([*PACKAGE.rglob("*.py"), ROOT / "cheddar.tac", ROOT / "twisted/plugins/cheddar_plugin.py"])

# In pieces, so that this file does not spell what it looks for.
REGISTRY = re.compile(
    "|".join(
        host.replace(" ", r"\.")
        for host in ("pypi" + " org", "pythonhosted" + " org", "pypi" + " python org", "npmjs" + " org", "pypi" + " io")
    ),
    re.IGNORECASE,
)
FORBIDDEN_NAME = re.compile(r"(?:Manager|Handler|Processor)\Z")
FORBIDDEN_MODULES = ("utils", "util", "helpers", "helper", "common", "misc")


def kept_files() -> Iterator[Path]:
    """Every file that is, or would be, under version control."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    for name in listed.decode().split("\0"):
        if name and (ROOT / name).is_file():
            yield ROOT / name


def relative(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def reactor_imports(source: str) -> bool:
    """Whether a module imports the global reactor, anywhere in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "twisted.internet":
            if any(alias.name == "reactor" for alias in node.names):
                return True
        elif isinstance(node, ast.Import) and any(alias.name == "twisted.internet.reactor" for alias in node.names):
            return True
    return False


def test_no_module_is_longer_than_400_lines() -> None:
    """A module does one thing, and can be read in one sitting."""
    lengths = {path: len(path.read_text().splitlines()) for path in MODULES}
    assert len(lengths) > 40
    assert relative([path for path, length in lengths.items() if length >= 400]) == []


def test_names_say_what_a_thing_does() -> None:
    """No utils, no helpers, no Manager, Handler or Processor."""
    assert relative([path for path in MODULES if path.stem in FORBIDDEN_MODULES]) == []
    classes = [
        f"{path.name}: {node.name}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    ]
    assert len(classes) > 50
    assert [name for name in classes if FORBIDDEN_NAME.search(name)] == []


def test_no_file_spells_the_address_of_a_registry() -> None:
    """Nothing in the tree points at somebody else's server; the default comes from a library's constant."""
    files = list(kept_files())
    assert ROOT / "README.rst" in files
    assert relative([path for path in files if REGISTRY.search(path.read_bytes().decode(errors="replace"))]) == []
    # The control: the pattern finds what it is for.
    from cheddar.settings import public_index

    assert REGISTRY.search(public_index())


def test_only_tap_imports_the_reactor() -> None:
    """The reactor is an argument: whoever uses Cheddar's parts brings their own."""
    allowed = {PACKAGE / "tap.py", ROOT / "cheddar.tac"}
    importing = {path for path in MODULES if reactor_imports(path.read_text())}
    assert relative(sorted(importing - allowed)) == []
    assert PACKAGE / "tap.py" in importing


#: What makes objects of bytes, or runs what it reads: whoever can write to a store or a cache would run code here.
MAKES_OBJECTS = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle", "yaml", "dbm", "xmlrpc", "code"}


def imported(text: str) -> set[str]:
    """The top names of the modules that a module's text imports; of C{__import__} and the like the calls themselves."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found.add(node.func.id)
    return found


def test_what_is_stored_is_data() -> None:
    """Nothing that is read becomes an object or code: no module imports what does that, evaluates or executes."""
    forbidden = MAKES_OBJECTS | {"eval", "exec", "__import__"}
    assert {name for path in MODULES for name in imported(path.read_text()) & forbidden} == set()
    assert "json" in set().union(*(imported(path.read_text()) for path in MODULES)), "the control"
    for harm in ("import pickle", "from yaml import load", "import xmlrpc.client", "eval(x)"):
        assert imported(harm) & forbidden, "the control"


def test_importing_the_plugin_installs_no_reactor() -> None:
    """twistd installs the reactor that --reactor names: reading Cheddar's options does not take that choice away."""
    program = "import sys, {module}; print('twisted.internet.reactor' in sys.modules)"
    for module, expected in (("cheddar.tap", "False\n"), ("twisted.internet.reactor", "True\n")):
        result = subprocess.run(
            [sys.executable, "-c", program.format(module=module)], capture_output=True, text=True, timeout=60
        )
        assert (result.returncode, result.stdout, result.stderr) == (0, expected, "")


#: What costs a start time and memory, and only some requests, settings or other processes use.
SELDOM_USED = {
    *("jwt", "txredisapi", "pypi_attestations", "sigstore", "pydantic", "cmarkgfm", "docutils", "nh3"),
    *("readme_renderer", "requests", "rich", "setuptools", "pkg_resources", "unittest"),
}

STARTED = """
import sys
from pathlib import Path
from cheddar import tap
from cheddar.service import make_service
from cheddar.settings import Settings
from twisted.internet import reactor
service = make_service(Settings(data_dir=Path(sys.argv[1]), listen=("tcp:0:interface=127.0.0.1",)), reactor)
def end(_):
    print(*sys.modules)
    import cheddar.service.publishing, cheddar.store.redis
    print(*sys.modules)
    service.stopService().addBoth(lambda _: reactor.stop())
def begin():
    service.startService()
    service.started().addBoth(end)
reactor.callWhenRunning(begin)
reactor.run()
"""


def test_a_start_loads_nothing_that_is_seldom_used(tmp_path: Path) -> None:
    """What only some settings or requests need is read when they need it: others start sooner, and stay smaller."""
    done = subprocess.run(
        [sys.executable, "-c", STARTED, str(tmp_path)], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert done.returncode == 0, done.stderr
    started, with_more = (set(line.split()) for line in done.stdout.splitlines())
    assert {"cheddar.web.site", "cheddar.store.sqlite"} <= started
    assert started & SELDOM_USED == set()
    # The control: they are found by these names.
    assert {"jwt", "txredisapi"} <= with_more


@pytest.mark.deadline(60)
def test_imports_only_go_down() -> None:
    """The floors of the house, and which room knows which library, as setup.cfg draws them."""
    program = Path(sys.executable).parent / "lint-imports"
    result = subprocess.run([str(program), "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_setting_is_documented() -> None:
    """The README's table names every setting, with its default."""
    from attrs import fields_dict

    from cheddar.settings import Settings

    rows = re.findall(r"\* - ``([A-Z_]+)``\n +- (.+)\n +- \S", (ROOT / "README.rst").read_text())
    spelled = {
        "INDEX_URL": "the public index",
        "LOCAL_CACHE_DIR": "``DATA_DIR/local``",
        "REMOTE_CACHE_DIR": "``DATA_DIR/remote``",
        "PUBLIC_URL": "``http://localhost:PORT/``",
        "READ_AUTH": "``false``",
        "STRICT_NAMES": "``false``",
        "OFFLINE": "``false``",
        "X_SENDFILE": "``false``",
        "UPSTREAM": "none",
        "PUBLISHER": "none",
        "OIDC_AUDIENCE": "the host of ``PUBLIC_URL``",
        "TRUSTED_PROXIES": "empty",
        "ACCESS_LOG_FILE": "``DATA_DIR/access.jsonl``",
        "AUDIT_LOG": "``DATA_DIR/audit.jsonl``",
    }
    expected = {
        name.upper(): spelled.get(name.upper(), f"``{attribute.default}``" if attribute.default else "empty")
        for name, attribute in fields_dict(Settings).items()
    }
    assert dict(rows) == expected


def test_the_readme_is_valid() -> None:
    """It renders as it would on an index's page of the project."""
    import io

    from readme_renderer import rst

    complaints = io.StringIO()
    assert rst.render((ROOT / "README.rst").read_text(), stream=complaints)
    assert complaints.getvalue() == ""


def test_the_top_level_is_what_every_project_has() -> None:
    """A person finds the way: nothing new at the top."""
    allowed = {
        *("cheddar", "twisted", "tests", "docs", "deploy", "benchmarks", ".ci"),
        *("setup.cfg", "setup.py", "cheddar.tac", "README.rst", "LICENSE", "Makefile", ".gitignore", ".ruff.toml"),
    }
    assert {path.relative_to(ROOT).parts[0] for path in kept_files()} - allowed == set()
    for folder in ("twisted", "twisted/plugins"):
        assert not (ROOT / folder / "__init__.py").exists()
