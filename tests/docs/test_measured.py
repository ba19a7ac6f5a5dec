"""The page of figures says what the files of the benchmarks say."""

import pytest

from tests.docs.measured import FIGURES, PAGE, filled


def test_the_page_shows_the_figures_of_the_files():
    """Else: python -m tests.docs.measured."""
    assert filled(PAGE.read_text()) == PAGE.read_text()


@pytest.mark.parametrize("begin", FIGURES)
def test_every_figure_has_its_row(begin):
    rows = [line for line in PAGE.read_text().split("\n") if line.startswith(f"| {begin}")]
    assert len(rows) == 1
