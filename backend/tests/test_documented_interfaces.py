"""Every use of a library is documented by it or allowed by an ADR.

The test reads the source: imported names, names taken from imported modules, methods that a
subclass of a library's class overrides, and members that it inherits and uses. Attributes of other
objects have no type in the source, so the test does not see them. `documented_interfaces.toml` has
both lists.
"""

import ast
import importlib
import inspect
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
import uvicorn
from tests.test_architecture import FILES, SOURCE, parsed

pytestmark = pytest.mark.unit

LISTS = tomllib.loads(Path(__file__).with_name("documented_interfaces.toml").read_text())
ALLOWED = {*LISTS["allowed"]}
ADRS = SOURCE.parents[2] / "docs" / "adr"
OURS = {"app", "tests"}


def is_of_a_library(module: str) -> bool:
    return module.partition(".")[0] not in {*OURS, *sys.stdlib_module_names}


@cache
def is_module(name: str) -> bool:
    parent, _, child = name.rpartition(".")
    try:
        module = importlib.import_module(parent or name)
        found = getattr(module, child, None) if parent else module
        return isinstance(importlib.import_module(name) if found is None else found, ModuleType)
    except ModuleNotFoundError:
        return False


def imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield the local names of imports from libraries, and their full names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if is_of_a_library(alias.name):
                    yield alias.asname or alias.name, alias.name
        elif isinstance(node, ast.ImportFrom) and is_of_a_library(node.module or ""):
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def dotted(node: ast.expr) -> str:
    """Return `a.b.c` of an attribute's expression, or nothing if it does not begin with a name."""
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return before and f"{before}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def imported_uses(tree: ast.AST) -> Iterator[str]:
    """Yield the full names that a module imports or takes from modules that it imports."""
    names = dict(imported(tree))
    modules = {called: name for called, name in names.items() if is_module(name)}
    yield from (name for name in names.values() if not is_module(name) or is_private(name))
    for node in ast.walk(tree):
        called = dotted(node) if isinstance(node, ast.Attribute) else ""
        for alias, module in modules.items():
            name = module + called.removeprefix(alias)
            if called.startswith(f"{alias}.") and not is_module(name):
                owner = name.rpartition(".")[0]
                if is_module(owner):
                    yield name


def is_private(name: str) -> bool:
    return any(part.startswith("_") for part in name.split("."))


def library_bases(cls: type) -> list[type]:
    return [each for each in cls.__mro__ if is_of_a_library(each.__module__)]


def own_members(cls: type) -> set[str]:
    """Return the members that our part of a class declares or assigns."""
    found: set[str] = set()
    for each in cls.__mro__:
        if each.__module__.partition(".")[0] in OURS:
            found |= {*vars(each), *inspect.get_annotations(each)}
            found |= {
                node.attr
                for node in ast.walk(source_of(each))
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
            }
    return found


def source_of(cls: type) -> ast.ClassDef:
    tree = parsed(Path(inspect.getfile(cls)))
    return next(
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name == cls.__name__
    )


def is_self(node: ast.expr) -> bool:
    called = node.func if isinstance(node, ast.Call) else None
    return (isinstance(node, ast.Name) and node.id in {"self", "cls"}) or (
        isinstance(called, ast.Name) and called.id == "super"
    )


def member_uses(cls: type) -> Iterator[str]:
    """Yield the members of library classes that our classes override, or inherit and use."""
    bases = library_bases(cls)
    if not bases:
        return
    inherited = f"{bases[0].__module__.partition('.')[0]}.{bases[0].__qualname__}"
    for base in bases:
        package = base.__module__.partition(".")[0]
        yield from (
            f"{package}.{base.__qualname__}.{name}"
            for name in source_members(cls)
            if name in vars(base) and next(b for b in bases if name in vars(b)) is base
        )
    used = {
        node.attr
        for node in ast.walk(source_of(cls))
        if isinstance(node, ast.Attribute) and is_self(node.value)
    }
    yield from (f"{inherited}.{name}" for name in used - own_members(cls) if not dunder(name))


def source_members(cls: type) -> set[str]:
    """Return the members that the body of a class defines, without dunder methods."""
    found: set[str] = set()
    for node in source_of(cls).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return {name for name in found if not dunder(name)}


def dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def classes_in(file: Path) -> Iterator[type]:
    parts = file.relative_to(SOURCE.parent).with_suffix("").parts
    module = importlib.import_module(".".join(parts).removesuffix(".__init__"))
    yield from (
        each
        for each in vars(module).values()
        if inspect.isclass(each) and each.__module__ == module.__name__
    )


@cache
def uses() -> Mapping[str, str]:
    """Return each undocumented use of a library, and a file that has it."""
    found: dict[str, str] = {}
    for file in FILES:
        names = {*imported_uses(parsed(file))}
        for cls in classes_in(file):
            names |= {*member_uses(cls)}
        found |= {name: str(file.relative_to(SOURCE)) for name in names if not documented(name)}
    return found


def documented(name: str) -> bool:
    """Return whether the list of documented names has it. Private names are never documented."""
    owner, _, last = name.rpartition(".")
    listed = LISTS["documented"].get(owner, ())
    return not is_private(name) and ("*" in listed or last in listed)


def test_undocumented_use_of_a_library_is_allowed() -> None:
    refused = {name: file for name, file in uses().items() if name not in ALLOWED}

    assert refused == {}


def test_allowed_use_of_a_library_still_exists() -> None:
    assert ALLOWED - set(uses()) == set()


@pytest.mark.parametrize(("name", "adr"), LISTS["allowed"].items())
def test_allowed_use_of_a_library_is_in_its_adr(name: str, adr: str) -> None:
    assert name.rpartition(".")[2] in (ADRS / adr).read_text()


@pytest.mark.parametrize(
    ("code", "use"),
    [
        ("from sqlalchemy.util import greenlet_spawn", "sqlalchemy.util.greenlet_spawn"),
        ("from fastapi import _compat", "fastapi._compat"),
        ("import uvicorn\nuvicorn.config.LOOPS", "uvicorn.config.LOOPS"),
        ("import uvicorn.config as c\nc.LOOPS", "uvicorn.config.LOOPS"),
        ("from sqlalchemy import pool\npool.base.reset_agent", "sqlalchemy.pool.base.reset_agent"),
    ],
)
def test_undocumented_import_is_found(code: str, use: str) -> None:
    assert use in set(imported_uses(ast.parse(code)))
    assert not documented(use)


class _Engine(uvicorn.Server):
    started = True

    def run(self, sockets: object = None) -> None:
        self.force_exit = self.handle_exit is None


def test_overridden_and_inherited_members_are_found() -> None:
    assert set(member_uses(_Engine)) == {
        "uvicorn.Server.run",
        "uvicorn.Server.handle_exit",
    }
