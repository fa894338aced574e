"""Issue forms and the pull-request template."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.operations.files import ROOT, TASKS

pytestmark = pytest.mark.integration

CHECK = Path(sys.executable).with_name("check-jsonschema")
FORMS = ROOT / ".github" / "ISSUE_TEMPLATE"


@pytest.mark.parametrize(
    ("schema", "names"),
    [
        ("vendor.github-issue-forms", ("bug_report.yml", "feature_request.yml")),
        ("vendor.github-issue-config", ("config.yml",)),
    ],
)
def test_issue_forms_follow_schema(schema: str, names: tuple[str, ...]) -> None:
    files = [FORMS / name for name in names]

    subprocess.run([CHECK, "--builtin-schema", schema, *files], check=True)


def test_pull_request_template_names_existing_tasks() -> None:
    template = (ROOT / ".github" / "pull_request_template.md").read_text()
    named = set(re.findall(r"`mise run ([a-z:]+)`", template))

    assert named
    assert named <= TASKS.keys()
