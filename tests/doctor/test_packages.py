"""Versions that are missing or too old, decoders that do not decode."""

import sys
from importlib import import_module, metadata

from largegan.doctor import packages
from largegan.doctor.finding import Finding, Visit


def found_by(check) -> dict[str, Finding]:
    return {finding.what: finding for finding in check(Visit([]))}


def test_old_and_missing_packages(monkeypatch):
    installed = metadata.version
    faked = {"torch": "2.0.0", "webdataset": None, "deepspeed": None, "tensorboard": "1.0"}
    monkeypatch.setattr(packages, "version_of", lambda p: faked[p] if p in faked else installed(p))
    found = found_by(packages.check_packages)
    assert "2.0.0, but the project needs >=2.11; pip install" in str(found["torch"])
    assert found["webdataset"].level == "FAIL" and "not installed" in str(found["webdataset"])
    assert found["tensorboard"].level == "warn" and "deepspeed" not in found
    assert "numpy" in found["packages"].facts and "webdataset" not in found["packages"].facts


def test_decoder_that_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspng", None)
    found = found_by(packages.check_decoders)
    assert found["pyspng"].level == "FAIL" and "does not work" in str(found["pyspng"])
    assert "simplejpeg" in found["decoders"].facts


def test_decoder_that_is_wrong(monkeypatch):
    png = import_module("pyspng")
    right = png.load
    monkeypatch.setattr(png, "load", lambda encoded: right(encoded) + 5)
    found = found_by(packages.check_decoders)
    assert found["pyspng"].level == "FAIL" and "decodes wrongly" in str(found["pyspng"])


def test_old_python(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 8, 0))
    (finding,) = packages.check_python(Visit([]))
    assert finding.level == "FAIL" and finding.remedy == "use Python 3.10 or newer"
