"""Records: what a store keeps of a value."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cheddar.errors import StoreUnavailable
from cheddar.formats.records import (
    assemble_project,
    dump_file,
    dump_page,
    dump_project,
    load_files,
    load_page,
    load_project,
)
from cheddar.model import CachedPage, File, Project, Validators

texts = st.text(max_size=20) | st.sampled_from(["1.10", "007", "\n", "\u2028", "\x00", '"', "null", "1e5"])
digests = st.dictionaries(texts, texts, max_size=3)
zones = st.integers(-720, 720).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(timezones=st.just(timezone.utc) | zones)
seconds = st.floats(allow_nan=False)
files = st.builds(
    File,
    filename=texts,
    version=texts,
    size=st.none() | st.integers(0, 2**63),
    digests=digests,
    upload_time=st.none() | times,
    requires_python=st.none() | texts,
    yanked=st.none() | texts,
    core_metadata=st.none() | digests,
    provenance=st.none() | texts,
    url=texts,
    key=texts,
    uploaded_by=texts,
    made_metadata=st.booleans(),
    upstream=texts,
    withdrawal=texts,
    other_metadata=texts,
)
projects = st.builds(
    Project,
    name=texts,
    files=st.lists(files, max_size=4).map(tuple),
    versions=st.lists(texts, max_size=4).map(tuple),
    display_name=texts,
    status=texts,
    status_reason=st.none() | texts,
    index=texts,
    serial=st.integers(0, 2**63),
    upstream=texts,
)
pages = st.builds(
    CachedPage,
    project=st.none() | projects,
    validators=st.builds(
        Validators,
        etag=st.none() | texts,
        last_modified=st.none() | texts,
        serial=st.none() | st.integers(0),
        url=texts,
    ),
    checked_at=seconds,
    asked_at=seconds,
    missing_since=st.none() | seconds,
    withdrawn=st.lists(files, max_size=3).map(tuple),
)


@given(st.lists(files, max_size=5).map(tuple))
def test_files_come_back(listed: tuple[File, ...]) -> None:
    """A file's record loses nothing, and is one line of ASCII."""
    lines = [dump_file(file) for file in listed]
    assert load_files(lines) == listed
    assert all(line.isascii() and "\n" not in line for line in lines)


@given(projects)
def test_projects_come_back(project: Project) -> None:
    """A project's record loses nothing."""
    assert load_project(dump_project(project)) == project


@given(pages)
def test_pages_come_back(page: CachedPage) -> None:
    """A page's record loses nothing; that there is no project is not the same as a project without files."""
    assert load_page(dump_page(page)) == page


@pytest.mark.parametrize(
    ("kind", "strategy"), [(File, files), (Project, projects), (CachedPage, pages)], ids=lambda value: str(value)[:20]
)
def test_every_attribute_is_tried(kind: type, strategy: st.SearchStrategy[object]) -> None:
    """An attribute of the value that is added to the model must be added here: the strategies above name them all."""
    named = strategy.wrapped_strategy.kwargs if hasattr(strategy, "wrapped_strategy") else strategy.kwargs
    assert set(named) == {field.name for field in attrs.fields(kind) if field.eq}


def test_microseconds() -> None:
    """An upload time keeps its microseconds and its being UTC."""
    time = datetime(2026, 11, 5, 1, 2, 3, 4, tzinfo=timezone.utc)
    (file,) = load_files([dump_file(File("a", "1", upload_time=time))])
    assert file.upload_time is not None
    assert file.upload_time.isoformat() == "2026-11-05T01:02:03.000004+00:00"


def test_absent_values_take_no_room() -> None:
    """What is absent is not written."""
    assert dump_file(File("a", "1")) == '{"filename":"a","version":"1"}'
    assert dump_project(Project("a")) == '{"name":"a"}'
    assert dump_page(CachedPage(None)) == '{"checked_at":0.0,"asked_at":0.0}'


def test_unknown_values_are_passed_over() -> None:
    """A record of a newer Cheddar that has one value more can be read."""
    assert load_files(['{"filename":"a","version":"1","colour":"blue"}']) == (File("a", "1"),)


def test_many_files() -> None:
    """A listing of any length comes back in order."""
    listed = tuple(File(f"a-{number}", str(number)) for number in range(1001))
    assert load_project(dump_project(Project("a", listed))).files == listed


def test_assembled_in_order() -> None:
    """A local project lists its files by version and name, whatever order the store keeps them in."""
    listed = [File("b", "1.10"), File("a", "1.10"), File("z", "1.9")]
    project = assemble_project("x", "X", 7, map(dump_file, listed))
    assert [file.filename for file in project.files] == ["z", "a", "b"]
    assert project.versions == ("1.9", "1.10")
    assert (project.name, project.display_name, project.serial) == ("x", "X", 7)


@pytest.mark.parametrize(
    "damage",
    ["", "{", "[]", "7", '{"filename":"a"}', '{"filename":"a","version":"1","upload_time":"noon"}', "}{", "\x00"],
)
def test_damage_is_told(damage: str) -> None:
    """A damaged record is an error that says what to do, never a file with something missing."""
    good = dump_file(File("a", "1"))
    with pytest.raises(StoreUnavailable, match="cheddar rebuild"):
        load_files([good, damage])
    with pytest.raises(StoreUnavailable, match="cheddar rebuild"):
        load_page(dump_page(CachedPage(None)) + "\n" + dump_project(Project("a")) + "\n" + damage)


def test_lines_that_run_into_one_are_noticed() -> None:
    """A line break that got lost, or one too many, does not go by as another number of files."""
    good = dump_file(File("a", "1"))
    for lines in ([good + "," + good], [good, ""], [""], [json.dumps([good])]):
        with pytest.raises(StoreUnavailable):
            load_files(lines)
