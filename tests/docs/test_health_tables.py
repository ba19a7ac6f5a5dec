"""The guide to health shows the signals and verdicts that there are."""

from tests.docs.health_tables import PAGE, filled


def test_the_guide_shows_the_tables_of_the_package():
    """Else: python -m tests.docs.health_tables."""
    assert filled(PAGE.read_text()) == PAGE.read_text()
