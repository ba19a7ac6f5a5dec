"""The order of the checks, and that nothing which happens in one is lost."""

import sys

from largegan.doctor import packages


def test_what_nobody_foresaw_is_one_line(examined, monkeypatch):
    def explode(visit):
        raise ZeroDivisionError("over\nthere")
        yield

    monkeypatch.setattr(packages, "check_python", explode)
    failures, found = examined()
    assert failures == [4]
    assert found["python"][0].startswith("FAIL  python: ZeroDivisionError: over there;")
    assert found["run directory"], "and goes on"


def test_a_subject_that_cannot_be_imported_is_a_finding(examined, monkeypatch):
    monkeypatch.setitem(sys.modules, "largegan.doctor.machine", None)
    failures, found = examined()
    assert failures == [4, 4] and "ModuleNotFoundError" in found["devices"][0]
    assert found["packages"] and found["phases"]
