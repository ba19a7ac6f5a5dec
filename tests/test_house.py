"""The script that measures the house, on a house of known size."""

from tests.house import measure

COPY = "def f(a, b):\n" + "".join(f"    a{i} = b\n" for i in range(7))


def test_figures_of_a_small_house(tmp_path):
    package = tmp_path / "largegan"
    for room in ("low", "high"):
        (package / room).mkdir(parents=True)
        (package / room / "__init__.py").touch()
    (package / "train.py").write_text("from largegan.high.top import g\n")
    (package / "high/top.py").write_text("from largegan.low import ground\n" + COPY)
    (package / "low/ground.py").write_text(COPY + "class C:\n    def m(self, x): ...\n")
    (package / "low/long.py").write_text("x = 1\n" * 301)
    figures = measure(tmp_path)
    assert figures["files over 300 lines"] == "1"
    assert figures["arguments, 90th percentile and most"].endswith("and 2")
    assert figures["longest import chain from train"] == "3"
    assert figures["arrows between rooms"] == "2"
    assert figures["rooms"] == "3"


def test_a_copy_is_one_pair_however_long(tmp_path):
    (tmp_path / "largegan").mkdir()
    (tmp_path / "largegan/train.py").write_text("def h(): ...\n")
    key = "pairs of equal blocks of 6 lines and more"
    (tmp_path / "largegan/a.py").write_text(COPY)
    assert measure(tmp_path)[key] == "0"
    (tmp_path / "largegan/b.py").write_text(COPY)
    assert measure(tmp_path)[key] == "1"
