"""The page in a real browser: it opens, a click draws, a wrong file gets a sentence.

Needs Gradio, playwright and the distribution's Chromium; without one of them it is skipped, and
says which.
"""

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

import largegan
from tests.product.runs import trained

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
# Gradio takes seconds to import, and a browser to start.
pytestmark = pytest.mark.slow
PATIENCE_MS = 60_000


@pytest.fixture(scope="module")
def page_module():
    pytest.importorskip("gradio", reason="the extra `demo`")
    from largegan.api import page

    return page


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="the extra `dev`")
    if CHROMIUM is None:
        pytest.skip("Chromium of the distribution is not installed")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def opened(page_module, browser, runs_of_recipes):
    """opened(recipe) -> the page in the browser, what it asked for, its address."""
    served = []

    def open_page(name: str):
        model = largegan.load(trained(name, runs_of_recipes), device="cpu")
        blocks = page_module.build(model)
        address = page_module.serve(blocks, host="127.0.0.1", port=None)
        tab, asked = browser.new_page(viewport={"width": 1200, "height": 900}), []
        tab.set_default_timeout(PATIENCE_MS)
        tab.on("request", lambda request: asked.append(request.url))
        served.append((blocks, tab))
        tab.goto(address)
        return tab, asked, address

    yield open_page
    for blocks, tab in served:
        tab.close()
        blocks.close(verbose=False)


def from_elsewhere(asked: list[str], address: str) -> list[str]:
    return [url for url in asked if not url.startswith((address, "data:", "blob:"))]


@pytest.mark.parametrize("name", ["stylegan2", "biggan", "dcgan"])
def test_a_click_draws_and_nothing_comes_from_elsewhere(opened, name):
    tab, asked, address = opened(name)
    tab.get_by_role("button", name="Draw", exact=True).click()
    image = tab.locator(".picture img").first
    image.wait_for()
    assert tab.evaluate("e => e.naturalWidth", image.element_handle()) == 16
    first = image.get_attribute("src")
    tab.get_by_label("Seed", exact=True).first.fill("7")
    tab.get_by_role("button", name="Draw", exact=True).click()
    tab.wait_for_function("src => document.querySelector('.picture img').src != src", arg=first)
    assert tab.get_by_role("tab").count() == (4 if name == "stylegan2" else 2)
    assert not from_elsewhere(asked, address)
    with tab.expect_download() as download:
        tab.get_by_role("link", name="Download settings").or_(
            tab.get_by_role("button", name="Download settings")
        ).first.click()
    assert '"seed": 7' in Path(download.value.path()).read_text()


def test_every_tab_of_styles_draws(opened):
    tab, *_ = opened("stylegan2")
    tabs = {"Between two seeds": "Draw between", "Mix styles": "Mix", "Directions": "Move"}
    for count, (name, verb) in enumerate(tabs.items(), 1):
        tab.get_by_role("tab", name=name).click()
        tab.get_by_role("button", name=verb, exact=True).click()
        tab.wait_for_function(
            "n => document.querySelectorAll('.picture img').length >= n", arg=count
        )
    assert not tab.get_by_text("Error", exact=True).count()


def test_a_wrong_file_gets_a_sentence(opened, tmp_path):
    tab, asked, address = opened("cyclegan")
    button = tab.get_by_role("button", name="Translate", exact=True)
    button.click()
    tab.get_by_text("there is no picture yet; upload one").first.wait_for()
    (tmp_path / "a.txt").write_text("no picture")
    tab.locator("input[type=file]").first.set_input_files(tmp_path / "a.txt")
    tab.get_by_text("a.txt").first.wait_for()
    button.click()
    tab.get_by_text("is not a readable image").first.wait_for()
    assert not from_elsewhere(asked, address)


def test_a_picture_is_translated(opened, tmp_path):
    tab, *_ = opened("cyclegan")
    Image.new("RGB", (40, 30), (200, 30, 90)).save(tmp_path / "a.png")
    tab.locator("input[type=file]").first.set_input_files(tmp_path / "a.png")
    tab.get_by_text("a.png").first.wait_for()
    tab.get_by_role("button", name="Translate", exact=True).click()
    tab.wait_for_function("document.querySelectorAll('.picture img').length >= 2")
    sizes = tab.evaluate("[...document.querySelectorAll('.picture img')].map(e => e.naturalWidth)")
    assert sizes[:2] == [40, 40]


@pytest.mark.parametrize("name", ["gaussian", "ali", "stylegan3", "pix2pix", "srresnet"])
def test_other_kinds_of_recipes_have_a_page(page_module, runs_of_recipes, name):
    model = largegan.load(trained(name, runs_of_recipes), device="cpu")
    labels = [block.label for block in page_module.build(model).blocks.values()
              if getattr(block, "label", None)]  # fmt: skip
    wanted = {"gaussian": "what it has learned", "ali": "Reconstruct", "stylegan3": "Directions"}
    assert wanted.get(name, "before and after") in labels


def test_the_command_serves_this_machine_only(page_module, runs_of_recipes):
    """As a person starts it: the address it says answers here, and not on other interfaces."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    run = str(trained("dcgan", runs_of_recipes))
    words = [sys.executable, "-m", "largegan", "demo", run, "--port", str(port), "--device", "cpu"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert f"http://127.0.0.1:{port}" in process.stdout.readline()
        socket.create_connection(("127.0.0.1", port), 10).close()
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            address, state = line.split()[1], line.split()[3]
            if address.endswith(f":{port:04X}") and state == "0A":  # listening
                assert address.startswith("0100007F")
    finally:
        process.terminate()
        started = time.monotonic()
        code = process.wait(30)
    assert code == 143 and time.monotonic() - started < 20
