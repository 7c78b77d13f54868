"""Publishing with every tool of the trade; pip installs what each of them uploaded."""

from __future__ import annotations

import os
from pathlib import Path
from subprocess import CompletedProcess

from tests.support.clients import OLD, output, run
from tests.support.distributions import make_sdist, make_wheel
from tests.support.server import PASSWORD, USER, CheddarProcess, ask


def assert_installs(cheddar: CheddarProcess, project: str, folder: Path) -> None:
    """pip gets it from Cheddar alone."""
    done = run(
        "pip", "--isolated", "install", "--no-cache-dir", "--no-build-isolation", "--index-url",
        f"{cheddar.url}simple/", "--target", str(folder / project), project, home=folder / "pip-home",
    )  # fmt: skip
    assert done.returncode == 0, output(done)
    assert list((folder / project).glob("*.dist-info")), output(done)


def distributions(folder: Path, name: str) -> list[str]:
    """An sdist and a wheel on disk."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for filename, content in (make_sdist(name, "1.0"), make_wheel(name, "1.0")):
        (folder / filename).write_bytes(content)
        paths.append(str(folder / filename))
    return paths


def change(folder: Path, name: str) -> None:
    """Other bytes under the same names."""
    filename, content = make_wheel(name, "1.0", extra=((f"{name}/changed.py", b"x = 1\n"),))
    (folder / filename).write_bytes(content)


def test_twine(cheddar: CheddarProcess, tmp_path: Path) -> None:
    """Upload; the same again is content; other bytes are a 409 that says so; an old twine skips what is there."""
    files = distributions(tmp_path / "dist", "bytwine")

    def upload(client: str, *options: str) -> CompletedProcess[str]:
        return run(
            client, "upload", "--non-interactive", "--disable-progress-bar", "--repository-url", f"{cheddar.url}pypi/",
            "-u", USER, "-p", PASSWORD, *options, *files, home=tmp_path / "home",
        )  # fmt: skip

    assert upload("twine").returncode == 0
    assert upload("twine").returncode == 0, "the same bytes again"
    assert_installs(cheddar, "bytwine", tmp_path)
    change(tmp_path / "dist", "bytwine")
    conflict = upload("twine")
    assert conflict.returncode != 0
    assert "409" in output(conflict)
    assert "already exists" in output(conflict)
    assert upload("twine-6.1").returncode != 0, "the control: without the option it is an error"
    skipped = upload("twine-6.1", "--skip-existing")
    assert skipped.returncode == 0, output(skipped)


def test_uv(cheddar: CheddarProcess, tmp_path: Path) -> None:
    """Publish; with --check-url what is there already is passed over."""
    files = distributions(tmp_path / "dist", "byuv")

    def publish(*options: str) -> CompletedProcess[str]:
        return run(
            "uv", "publish", "--publish-url", f"{cheddar.url}pypi/", "-u", USER, "-p", PASSWORD, *options, *files,
            home=tmp_path / "home",
        )  # fmt: skip

    first = publish()
    assert first.returncode == 0, output(first)
    assert_installs(cheddar, "byuv", tmp_path)
    again = publish("--check-url", f"{cheddar.url}simple/")
    assert again.returncode == 0, output(again)
    assert "already exists, skipping" in output(again)
    change(tmp_path / "dist", "byuv")
    conflict = publish()
    assert conflict.returncode != 0
    assert "already exists" in output(conflict)


def test_poetry(cheddar: CheddarProcess, tmp_path: Path) -> None:
    """Build and publish; other bytes are an error, and are skipped with --skip-existing."""
    project = tmp_path / "bypoetry"
    (project / "bypoetry").mkdir(parents=True)
    module = project / "bypoetry" / "__init__.py"
    module.write_text("")
    (project / "pyproject.toml").write_text(
        '[project]\nname = "bypoetry"\nversion = "1.0"\ndescription = "A test."\nauthors = [{name = "A", email = '
        '"a@example.org"}]\nrequires-python = ">=3.8"\n[build-system]\nrequires = ["poetry-core"]\n'
        'build-backend = "poetry.core.masonry.api"\n'
    )
    environ = {
        "POETRY_REPOSITORIES_CHEDDAR_URL": f"{cheddar.url}pypi/",
        "POETRY_HTTP_BASIC_CHEDDAR_USERNAME": USER,
        "POETRY_HTTP_BASIC_CHEDDAR_PASSWORD": PASSWORD,
        "POETRY_VIRTUALENVS_CREATE": "false",
    }

    def publish(*options: str) -> CompletedProcess[str]:
        return run(
            "poetry", "publish", "--build", "--no-interaction", "--repository", "cheddar", *options,
            home=tmp_path / "home", cwd=project, environ=environ,
        )  # fmt: skip

    first = publish()
    assert first.returncode == 0, output(first)
    assert_installs(cheddar, "bypoetry", tmp_path)
    module.write_text("x = 1\n")
    conflict = publish()
    assert conflict.returncode != 0
    assert "409" in output(conflict)
    skipped = publish("--skip-existing")
    assert skipped.returncode == 0, output(skipped)


def test_flit(cheddar: CheddarProcess, tmp_path: Path) -> None:
    """Build and publish."""
    project = tmp_path / "byflit"
    project.mkdir()
    (project / "byflit.py").write_text('"""A module."""\n__version__ = "1.0"\n')
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["flit_core"]\nbuild-backend = "flit_core.buildapi"\n[project]\nname = "byflit"\n'
        'authors = [{name = "A", email = "a@example.org"}]\ndynamic = ["version", "description"]\n'
    )
    environ = {"FLIT_INDEX_URL": f"{cheddar.url}pypi/", "FLIT_USERNAME": USER, "FLIT_PASSWORD": PASSWORD}

    def publish() -> CompletedProcess[str]:
        return run(
            "flit", "publish", home=tmp_path / "home", cwd=project,
            environ={**environ, "SOURCE_DATE_EPOCH": "1700000000"},
        )  # fmt: skip

    first = publish()
    assert first.returncode == 0, output(first)
    assert_installs(cheddar, "byflit", tmp_path)
    (project / "byflit.py").write_text('"""A module."""\n__version__ = "1.0"\nx = 1\n')
    conflict = publish()
    assert conflict.returncode != 0
    assert "409" in output(conflict)


def pypirc(home: Path, cheddar: CheddarProcess) -> None:
    """As the original's README has it: no slash at the address's end."""
    home.mkdir(exist_ok=True)
    (home / ".pypirc").write_text(
        "[distutils]\nindex-servers =\n    cheddar\n\n"
        f"[cheddar]\nrepository:{cheddar.url}pypi\nusername:{USER}\npassword:{PASSWORD}\n"
    )


def setup_py(folder: Path, name: str, version: str, imports: str) -> None:
    """A project of the old kind."""
    folder.mkdir()
    (folder / f"{name}.py").write_text("x = 1\n")
    (folder / "setup.py").write_text(
        f"from {imports} import setup\n"
        f"setup(name={name!r}, version={version!r}, py_modules=[{name!r}], description='Käse', url='http://e.example',"
        " author='A', author_email='a@example.org', classifiers=['Programming Language :: Python :: 3'],"
        " keywords=['a', 'b'])\n"
    )


def test_setup_py_with_setuptools(cheddar: CheddarProcess, tmp_path: Path) -> None:
    """`python setup.py register`, and `sdist bdist_wheel upload`, as the original's README has it."""
    home, project = tmp_path / "home", tmp_path / "bysetuptools"
    pypirc(home, cheddar)
    setup_py(project, "bysetuptools", "1.10", "setuptools" if OLD else "distutils.core")

    def setup(*commands: str) -> CompletedProcess[str]:
        return run("setuptools", "setup.py", *commands, home=home, cwd=project, program="python")

    registered = setup("register", "-r", "cheddar")
    assert registered.returncode == 0, output(registered)
    assert "Server response (200)" in output(registered)
    assert ask(cheddar.port, "GET", "/local/simple/bysetuptools/").status == 404, "register stores nothing"
    build = ("sdist", "bdist_wheel") if OLD else ("sdist",)
    uploaded = setup(*build, "upload", "-r", "cheddar")
    assert uploaded.returncode == 0, output(uploaded)
    assert output(uploaded).count("Server response (200)") == len(build), output(uploaded)
    assert_installs(cheddar, "bysetuptools", tmp_path)
    os.utime(project / "bysetuptools.py")
    (project / "bysetuptools.py").write_text("x = 2\n")
    conflict = setup(*build, "upload", "-r", "cheddar")
    assert "409" in output(conflict), output(conflict)
    assert "already exists" in output(conflict)


def test_setup_py_with_distutils(cheddar: CheddarProcess, tmp_path: Path) -> None:
    """The standard library's own distutils, where Python still has it."""
    home, project = tmp_path / "home", tmp_path / "bydistutils"
    pypirc(home, cheddar)
    setup_py(project, "bydistutils", "1.0", "distutils.core")

    def setup(*commands: str) -> CompletedProcess[str]:
        if OLD:
            # Without site-packages: setuptools would put its own copy in the place of distutils.
            return run("setuptools", "-S", "setup.py", *commands, home=home, cwd=project, program="python")
        return run("setuptools", "setup.py", *commands, home=home, cwd=project, program="python")

    registered = setup("register", "-r", "cheddar")
    assert "Server response (200)" in output(registered), output(registered)
    uploaded = setup("sdist", "upload", "-r", "cheddar")
    assert uploaded.returncode == 0, output(uploaded)
    assert "Server response (200)" in output(uploaded), output(uploaded)
    assert_installs(cheddar, "bydistutils", tmp_path)


def test_a_wrong_password_is_told(cheddar: CheddarProcess, tmp_path: Path) -> None:
    """The control of all these: without the right password nothing is published."""
    files = distributions(tmp_path / "dist", "refused")
    done = run(
        "twine", "upload", "--non-interactive", "--disable-progress-bar", "--repository-url", f"{cheddar.url}pypi/",
        "-u", USER, "-p", "7", *files, home=tmp_path / "home",
    )  # fmt: skip
    assert done.returncode != 0
    assert "401" in output(done), output(done)
    assert ask(cheddar.port, "GET", "/local/simple/refused/").status == 404
