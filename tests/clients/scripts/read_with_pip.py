"""
Read projects' pages by pip's own code, whichever pip runs this, and print what it makes of them as JSON::

    python read_with_pip.py [--html] --project NAME --project NAME INDEX INDEX

Each project is read from every index before the next one is. What is printed is, by project, a list with for each index
the files by name: what pip knows of each, whether it would take it and why not, and as which version.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from pip._internal.commands import create_command


def read(project: str, index: str, html: bool) -> dict[str, dict[str, Any]]:
    """What pip makes of a page."""
    command: Any = create_command("index")
    with command.main_context():
        options, _ = command.parse_args(["--no-cache-dir", "--index-url", index, "versions", project])
        session = command.get_default_session(options)
        if html:
            ask = session.get
            session.get = lambda url, headers, **more: ask(url, headers={**headers, "Accept": "text/html"}, **more)
        finder = command._build_package_finder(options, session)
        # As for "install": a yanked file is a candidate; which one of them is taken is decided later.
        finder._allow_yanked = True
        make_evaluator = finder.make_link_evaluator
        files: dict[str, dict[str, Any]] = {}

        def make_noting_evaluator(name: str) -> Any:
            evaluator = make_evaluator(name)
            evaluate = evaluator.evaluate_link

            def note(link: Any) -> Any:
                verdict = evaluate(link)
                # pip judges the page itself too: that came from no page.
                if link.comes_from is not None:
                    assert link.filename not in files, f"{link.filename} is there twice"
                    files[link.filename] = known(link) | {"verdict": [str(part) for part in verdict]}
                return verdict

            evaluator.evaluate_link = note
            return evaluator

        finder.make_link_evaluator = make_noting_evaluator
        for candidate in finder.find_all_candidates(project):
            files[candidate.link.filename]["version"] = str(candidate.version)
        return files


def known(link: Any) -> dict[str, Any]:
    """All that pip keeps of a file but its address; what its version does not know is left out."""
    facts = {
        "hashes": getattr(link, "_hashes", None) or {link.hash_name: link.hash},
        "requires-python": link.requires_python,
        "yanked": link.yanked_reason,
    }
    if hasattr(link, "metadata_file_data"):
        facts["metadata"] = None if link.metadata_file_data is None else link.metadata_file_data.hashes or {}
    if getattr(link, "upload_time", None) is not None:
        facts["upload-time"] = link.upload_time.isoformat()
    return facts


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--html", action="store_true")
    parser.add_argument("--project", action="append", required=True)
    parser.add_argument("index", nargs="+")
    arguments = parser.parse_args()
    print(
        json.dumps(
            {
                project: [read(project, index, arguments.html) for index in arguments.index]
                for project in arguments.project
            }
        )
    )


if __name__ == "__main__":
    main()
