from pathlib import Path

import pytest
from tests.embedded.embedded_users import OPTIONS

from app.embedded.server import embedded_postgres


@pytest.fixture(scope="module")
def initialized_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a data folder of a stopped server, shared by the tests of a module."""
    folder = tmp_path_factory.mktemp("embedded")
    with embedded_postgres(folder, options=OPTIONS):
        return folder
