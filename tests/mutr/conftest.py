"""Fixtures of the model's tests."""

import pytest
from tiny_mutr import tiny

from rvos.mutr import MUTR


@pytest.fixture(scope="session")
def model() -> MUTR:
    return tiny()
