"""Paths in the documents exist in the repository."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.operations.files import BACKEND, DOCUMENTS, ROOT

pytestmark = pytest.mark.unit

# A path in a document is relative to one of these folders, or to the document's own folder.
ROOTS = (ROOT, BACKEND, BACKEND / "src" / "app", BACKEND / "tests")
FOLDERS = {folder.name for root in ROOTS for folder in root.iterdir() if folder.is_dir()}
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
QUOTED = re.compile(r"`([\w.*-]+(?:/[\w.*-]+)*/?)`")
CODE_BLOCK = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
ARGUMENT = re.compile(r"(?<!\S)((?:tests|scripts|docs|backend)/[\w./*-]+)")
SUFFIXES = (".py", ".md", ".toml", ".yml", ".ini", ".cfg", ".html", ".css", ".js")
# A run or an installation makes these. The repository does not have them.
GENERATED = ("backend/.venv", "backend/.data", ".data/")
# The reader of a recipe makes these.
EXAMPLES = re.compile(r"NAME|amenities")


def paths_named_in(text: str) -> Iterator[str]:
    """Yield every path of the repository in the text: in backticks, links and commands."""
    for block in CODE_BLOCK.findall(text):
        yield from ARGUMENT.findall(block)
    prose = CODE_BLOCK.sub("", text)
    yield from LINK.findall(prose)
    for name in QUOTED.findall(prose):
        if name.endswith(SUFFIXES) or (name.partition("/")[0] in FOLDERS and "/" in name):
            yield name


def exists(name: str, folder: Path) -> bool:
    """Return whether a path exists. A bare file name may be in any folder."""
    if any(any(root.glob(name.rstrip("/"))) for root in (folder, *ROOTS)):
        return True
    return "/" not in name and any(
        any((BACKEND / root).rglob(name)) for root in ("src", "tests", "scripts", "benchmarks")
    )


def test_docs_named_paths_exist() -> None:
    named = {
        (document, name)
        for document in DOCUMENTS
        for name in paths_named_in(document.read_text())
        if not name.startswith(GENERATED) and EXAMPLES.search(name) is None
    }

    assert len(named) > 150
    assert [
        f"{document.relative_to(ROOT)}: {name}"
        for document, name in sorted(named)
        if not exists(name, document.parent)
    ] == []
