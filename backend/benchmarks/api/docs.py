"""The generated parts of docs/benchmark-results.md, marked by comments, and its pictures."""

import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.api.errors import BenchmarkError

FOLDER = Path(__file__).parents[3] / "docs"
PAGE = "benchmark-results.md"


def write(part: str, text: str, pictures: Mapping[str, str], folder: Path = FOLDER) -> None:
    """Replace one part of the page, and write its pictures beside the page.

    Raises:
        BenchmarkError: the page has no such part.
    """
    page = folder / PAGE
    old = page.read_text(encoding="utf-8")
    new = replaced(old, part, text)
    for name, picture in pictures.items():
        (folder / name).write_text(picture, encoding="utf-8")
    page.write_text(new, encoding="utf-8")


def replaced(page: str, part: str, text: str) -> str:
    """Return the page with `text` as the named part."""
    begin, end = f"<!-- begin {part} -->", f"<!-- end {part} -->"
    found = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if len(found.findall(page)) != 1:
        raise BenchmarkError(f"{PAGE} has no part from {begin} to {end}")
    return found.sub(lambda _: f"{begin}\n\n{text.strip()}\n\n{end}", page)


def provenance(about: Mapping[str, Any], command: str) -> str:
    """Return a paragraph about the date, the machine and the versions of a measurement."""
    machine, versions = about["machine"], about["versions"]
    names = {"python": "Python", "postgresql": "PostgreSQL"}
    packages = ", ".join(f"{names.get(n, n)} {v}" for n, v in versions.items() if n != "load")
    settings = ", ".join(f"{name}={value}" for name, value in about["settings"].items())
    said = (
        f"Measured on {about['date']} with `{command}` on {machine['cores']} CPU cores "
        f"({machine['processor']}) with {machine['memory_gb']} GB of memory, {machine['system']}. "
        f"The server, PostgreSQL and the load generator ({versions['load']}) shared the machine. "
        f"Versions: {packages}." + (f" Settings: {settings}." if settings else "")
    )
    return textwrap.fill(said, 120, break_long_words=False, break_on_hyphens=False)
