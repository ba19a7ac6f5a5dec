"""What the commands of `every_command` read, made once."""

from pathlib import Path

import pytest

from tests.commands.every_command import sandbox


@pytest.fixture(scope="session")
def inputs(tmp_path_factory) -> Path:
    return sandbox(tmp_path_factory.mktemp("inputs") / "all")
