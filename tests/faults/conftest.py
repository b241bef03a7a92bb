"""A data folder of its own for each test, that Postgres's user can enter."""

import os
import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """DATA_DIR of an `up`. pytest makes its folders for their owner alone."""
    root = Path(tempfile.gettempdir()).resolve()
    for each in (tmp_path, *tmp_path.parents):
        if each == root or root not in each.parents:
            break
        os.chmod(each, 0o755)
    return tmp_path / "data"
