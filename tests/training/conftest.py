from __future__ import annotations

import pytest
from training_helpers import write_photos


@pytest.fixture
def photos(tmp_path):
    write_photos(tmp_path / "photos")
    return tmp_path / "photos"
