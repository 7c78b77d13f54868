"""A project that says all that metadata can say, built by several tools, and what an index should know of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from tests.clients.publishers import home_of
from tests.support.clients import output, run

# As long as descriptions get, of several alphabets, and with all that could be taken for something else on its way:
# lines that look like headers, like a form's boundary, like markup.
DESCRIPTION = (
    "# Käse – チーズ – 🧀\n\nName: of another\n--frontier\n\n<b>&amp;</b> \\ \"'\n\n"
    + "| Größe | Preis |\n|---|---|\n| ½ kg | 10 € |\n\n" * 2000
    + "The end.\n"
)
SUMMARY = "Käse für alle – «チーズ» 🧀"
CLASSIFIERS = (
    "Development Status :: 5 - Production/Stable",
    "Intended Audience :: Developers",
    "Natural Language :: German",
    "Programming Language :: Python :: 3",
)
URLS = {"Homepage": "https://cheese.example/", "Source code": "https://cheese.example/käse?a=1&b=2#top"}
REQUIRES = ("branch>=1.0", "leaf[tasty]>=2.1; sys_platform != 'win32'")
EXTRAS = {"smoked": ("oak>=3",), "aged": ("cellar==1.*", "time")}
KEYWORDS = ("käse", "cheese")

_BACKENDS = {
    "flit": '[build-system]\nrequires = ["flit_core"]\nbuild-backend = "flit_core.buildapi"\n',
    "poetry": '[build-system]\nrequires = ["poetry-core"]\nbuild-backend = "poetry.core.masonry.api"\n',
    "uv": '[build-system]\nrequires = ["uv_build>=0.13,<0.14"]\nbuild-backend = "uv_build"\n',
}


def build(builder: str, folder: Path, name: str) -> None:
    """
    Make the project, and its wheel and sdist in C{dist} below it.

    @param builder: C{flit}, C{poetry} or C{uv}: each builds with what it brings, and fetches nothing.
    """
    module = folder / "src" / name.replace("-", "_")
    module.mkdir(parents=True)
    (module / "__init__.py").write_text("")
    (folder / "README.md").write_text(DESCRIPTION, encoding="utf-8")
    (folder / "LICENSE").write_text("Do as you like.\n")
    lines = [
        _BACKENDS[builder],
        "[project]",
        f'name = "{name}"',
        'version = "1.0"',
        f'description = "{SUMMARY}"',
        'readme = "README.md"',
        'requires-python = ">=3.8,<4"',
        'license = "Apache-2.0"',
        'license-files = ["LICENSE"]',
        'authors = [{name = "Zoë Müller", email = "zoe@cheese.example"}]',
        'maintainers = [{name = "Børge", email = "boerge@cheese.example"}]',
        f"keywords = {list(KEYWORDS)}",
        f"classifiers = {list(CLASSIFIERS)}",
        f"dependencies = {list(REQUIRES)}",
        "[project.optional-dependencies]",
        *(f"{extra} = {list(requires)}" for extra, requires in EXTRAS.items()),
        "[project.urls]",
        *(f'"{label}" = "{url}"' for label, url in URLS.items()),
    ]
    (folder / "pyproject.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    environ = {
        "FLIT_NO_NETWORK": "1",
        "POETRY_VIRTUALENVS_CREATE": "false",
        "UV_OFFLINE": "1",
        "UV_PYTHON": sys.executable,
    }
    done = run(builder, "build", home=home_of(folder), cwd=folder, environ=environ)
    assert done.returncode == 0, output(done)


def assert_whole(info: dict[str, Any], name: str) -> None:
    """
    C{info}, of the JSON API's document, says of the project what its author wrote.

    Left to the tools is how they spell requirements, what they add to the classifiers (poetry), and in which field a
    person's name stands.
    """
    assert (info["name"], info["version"]) == (name, "1.0")
    assert info["summary"] == SUMMARY
    assert info["description"].rstrip("\n") == DESCRIPTION.rstrip("\n")
    assert info["description_content_type"].startswith("text/markdown")
    assert {part.strip() for part in info["requires_python"].split(",")} == {">=3.8", "<4"}
    assert info["license_expression"] == "Apache-2.0"
    assert info["license_files"] == ["LICENSE"]
    assert "Zoë Müller" in f"{info['author']} {info['author_email']}"
    assert "zoe@cheese.example" in info["author_email"]
    assert "Børge" in f"{info['maintainer']} {info['maintainer_email']}"
    assert tuple(word.strip() for word in info["keywords"].split(",")) == KEYWORDS
    assert set(CLASSIFIERS) <= set(info["classifiers"])
    assert info["project_urls"] == URLS
    assert sorted(info["provides_extra"]) == sorted(EXTRAS)
    wanted = {Requirement(text) for text in REQUIRES}
    for extra, requires in EXTRAS.items():
        wanted |= {Requirement(f"{text}; extra == '{extra}'") for text in requires}
    assert {Requirement(text) for text in info["requires_dist"]} == wanted
