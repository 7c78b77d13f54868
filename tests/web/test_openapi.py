"""The description of the HTTP surface says what there is, and a tool that goes by it breaks nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cheddar.model import Action
from cheddar.web.openapi import Operation, UndescribedRoute, description_of
from tests.support.clients import output, run
from tests.support.distributions import make_wheel
from tests.support.server import CheddarProcess, ask, basic, upload_form

MATRIX = Path(__file__).with_name("matrix.txt")


def test_a_route_that_nobody_described() -> None:
    """It stops the start: what is not described is not served."""
    operation = Operation("/new/<project>", ("GET",), Action.READ)
    with pytest.raises(UndescribedRoute, match="/new/<project>"):
        description_of([operation], "http://localhost:5000/")


@pytest.fixture
def cheddar(tmp_path: Path) -> CheddarProcess:
    """A Cheddar with one project and one user; nothing behind it."""
    server = CheddarProcess(tmp_path / "data", options=("--index-url", "")).start()
    server.add_user()
    body, content_type = upload_form(*make_wheel("demo", "1.0"))
    headers = {"Content-Type": content_type, "Authorization": basic()}
    assert ask(server.port, "POST", "/pypi/", body, headers).status == 200
    return server


@pytest.mark.deadline(300)
def test_it_describes_what_there_is(cheddar: CheddarProcess) -> None:
    """
    Every rule of the matrix of who may do what is in it, and nothing else; and schemathesis, which asks for all of it
    in all the ways that it allows and many that it does not, meets no answer of a broken server, and none of another
    media type than is said.
    """
    answer = ask(cheddar.port, "GET", "/api/openapi.json")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    again = ask(cheddar.port, "GET", "/api/openapi.json", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status == 304
    described = {(method.upper(), path) for path, methods in answer.json()["paths"].items() for method in methods}
    ruled = {
        (match[1], re.sub(r"<(?:\w+(?:\([^)]*\))?:)?(\w+)>", r"{\1}", match[2]))
        for match in re.finditer(r"^([A-Z]+) +(/.*?) +(?:-|open|hidden) ", MATRIX.read_text(), re.MULTILINE)
    }
    assert described == ruled
    done = run(
        "schemathesis",
        "run",
        f"http://127.0.0.1:{cheddar.port}/api/openapi.json",
        "--url",
        f"http://127.0.0.1:{cheddar.port}",
        "--checks",
        "not_a_server_error,content_type_conformance,status_code_conformance,response_schema_conformance",
        "--max-examples",
        "8",
        "--seed",
        "7",
        "--phases",
        "examples,fuzzing",
        "--auth",
        "alice:007",
        home=cheddar.data_dir.parent / "home",
    )
    cheddar.stop()
    assert done.returncode == 0, output(done)[-6000:]
    assert "Traceback" not in cheddar.log.read_text()
