"""mise.toml and the git hook."""

import re
import tomllib

import pytest
import yaml
from tests.operations.files import ROOT, TASKS

pytestmark = pytest.mark.integration


def test_every_task_is_there_and_says_what_it_does() -> None:
    assert set(TASKS) == {
        "install:backend",
        "dev:backend",
        "worker",
        "test:backend",
        "test:slow",
        "flaky",
        "coverage",
        "test:pgbouncer",
        "typecheck:backend",
        "lint:backend",
        "lint:api",
        "format:backend",
        "format:backend:check",
        "check",
        "db:generate",
        "db:migrate",
        "db:rollback",
        "python",
        "demo",
        "bench",
        "bench:scale",
        "bench:memory",
        "bench:load",
        "bench:export",
        "bench:flame",
        "bench:imports",
        "bench:overhead",
        "bench:overload",
        "bench:pages",
        "soak",
        "assets",
        "audit",
        "sbom",
        "setup",
        "pre-commit",
    }
    assert all(task["description"] for task in TASKS.values())


def test_tasks_need_nothing_but_uv() -> None:
    document = tomllib.loads((ROOT / "mise.toml").read_text())
    commands = [
        command
        for task in TASKS.values()
        for command in ([task["run"]] if isinstance(task["run"], str) else task["run"])
        if isinstance(command, str)
    ]

    # Tools would be downloaded; templates would have mise ask whether the file is trusted.
    assert set(document) == {"tasks"}
    assert "{{" not in (ROOT / "mise.toml").read_text()
    assert all(
        re.match(r'(cd "\$MISE_ORIGINAL_CWD" && )?uv (run|sync|export) ', line) for line in commands
    )


def test_check_runs_every_check_there_is() -> None:
    (parallel, *_) = TASKS["check"]["run"]

    assert set(parallel["tasks"]) == {
        name for name in TASKS if name.startswith(("lint:", "typecheck:"))
    } | {name for name in TASKS if name.endswith(":check")}


def test_the_git_hook_needs_no_download() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())

    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    hooks = config["repos"][0]["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}
    assert all(hook["entry"].startswith("uv run --directory backend ") for hook in hooks)
