"""Rows of the table of sheets: a function draws each, a Protocol is asked, and --help has it."""

import inspect

from torch import Tensor

from largegan.commands.sample import sheet_help
from largegan.recipe import Recipe
from largegan.viz import sheets
from largegan.viz.sheet_table import SHEETS, possible


def test_every_row_is_a_function_and_every_sheet_has_a_row():
    named = {row.draws for row in SHEETS.values()}
    drawing = {
        name
        for name, function in vars(sheets).items()
        if inspect.isfunction(function)
        and list((signature := inspect.signature(function)).parameters) == ["sampler", "request"]
        and signature.return_annotation is Tensor
    }
    assert named == drawing
    assert all(row.function is vars(sheets)[row.draws] for row in SHEETS.values())


def test_a_recipe_that_offers_nothing_has_the_sheets_that_need_nothing():
    plain = [name for name, row in SHEETS.items() if row.capability is None]
    assert possible(Recipe()) == plain and len(plain) < len(SHEETS)


def test_help_reads_the_rows():
    said = sheet_help()
    assert all(f"{name}: {row.what}" in said for name, row in SHEETS.items())
