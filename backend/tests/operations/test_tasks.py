"""mise.toml and the git hook."""

import re
import tomllib

import pytest
import yaml
from tests.operations.files import DOCUMENTS, ROOT, TASKS

pytestmark = pytest.mark.integration

# `mise run test:backend`, `test:slow`: the names that follow in the same cell are tasks as well.
_TASKS = re.compile(r"mise run ([a-z:-]+)(?:[^`|\n]*`((?:, `[a-z:-]+`)+))?")


def test_tasks_have_descriptions() -> None:
    assert [name for name, task in TASKS.items() if not task.get("description")] == []


def test_tasks_named_in_documents_exist() -> None:
    named = {
        name
        for document in DOCUMENTS
        for first, others in _TASKS.findall(document.read_text())
        for name in (first, *re.findall(r"[a-z:-]+", others))
    }

    assert len(named) > 25
    assert named - TASKS.keys() == set()


def test_tasks_need_nothing_but_uv() -> None:
    document = tomllib.loads((ROOT / "mise.toml").read_text())
    commands = [
        command
        for task in TASKS.values()
        for command in ([task["run"]] if isinstance(task["run"], str) else task["run"])
        if isinstance(command, str)
    ]

    # mise would download tools, and would ask whether a file with templates is trusted.
    assert set(document) == {"tasks"}
    assert "{{" not in (ROOT / "mise.toml").read_text()
    assert all(
        re.match(r'(cd "\$MISE_ORIGINAL_CWD" && )?uv (run|sync|export) ', line) for line in commands
    )


def test_tasks_check_runs_every_check() -> None:
    (parallel, *_) = TASKS["check"]["run"]

    assert set(parallel["tasks"]) == {
        name for name in TASKS if name.startswith(("lint:", "typecheck:"))
    } | {name for name in TASKS if name.endswith(":check")}


def test_git_hook_needs_no_download() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())

    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    hooks = config["repos"][0]["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}
    assert all(hook["entry"].startswith("uv run --directory backend ") for hook in hooks)
