"""The page: Gradio's fields and buttons around `acts.py`. Nothing on it comes from elsewhere."""

import functools
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from largegan.api.acts import Drawn, Draws, Translates
from largegan.api.generator import Generator
from largegan.api.translator import Translator
from largegan.errors import EnvironmentFault, UserError
from largegan.files.output import as_json, write_text

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

try:
    import gradio as gr
except ImportError as fault:
    raise EnvironmentFault(
        f"the page needs Gradio, which is not installed ({fault}); `pip install 'largegan[demo]'`"
    ) from fault

LOOK = gr.themes.Base(font=["sans-serif"], font_mono=["monospace"])  # of the reader's machine
CSS = """
.picture img { width: 100%; height: 100%; object-fit: contain; }
.small img { image-rendering: pixelated; }
"""
LARGEST_UPLOAD = "200mb"
MOST_SEED = 2**31 - 1


def build(model: Generator | Translator) -> gr.Blocks:
    """The page of a model: what it can do has a tab."""
    with gr.Blocks(title=f"largegan: {model.recipe}", analytics_enabled=False) as page:
        gr.Markdown(f"# {model.recipe}\n{facts_of(model)}")
        if isinstance(model, Translator):
            translation(Translates(model))
        else:
            generation(Draws(model))
    return page


def serve(page: gr.Blocks, *, host: str, port: int | None) -> str:
    """Serves it in a thread; returns its address. Raises EnvironmentFault."""
    page.queue(default_concurrency_limit=1)  # one model, one image at a time
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            share=False,
            inbrowser=False,
            prevent_thread_lock=True,
            quiet=True,
            show_error=True,
            footer_links=[],
            enable_monitoring=False,
            ssr_mode=False,
            max_file_size=LARGEST_UPLOAD,
            theme=LOOK,
            css=CSS,
        )
    except OSError as fault:
        raise EnvironmentFault(f"the page cannot be served: {fault}; choose a --port") from fault
    return address


def wait(page: gr.Blocks) -> None:
    """Until a signal ends the process."""
    try:
        threading.Event().wait()
    finally:
        page.close(verbose=False)


def facts_of(model: Generator | Translator) -> str:
    seen = f"{model.nimg:,} images seen in training. " if model.nimg else ""
    return f"{seen}Computed on {model.device}; nothing leaves this machine."


def generation(draws: Draws) -> None:
    """The tabs of a generator."""
    if not draws.has_images:
        gr.Image(draws.own_picture(), label="what it has learned", format="png")
        return
    with gr.Tab("Draw"):
        drawing("Draw", draws.draw, lambda: [seed_field("Seed")], draws)
    with gr.Tab("Between two seeds"):
        drawing("Draw between", draws.between, between_fields, draws)
    if draws.has_styles:
        with gr.Tab("Mix styles"):
            drawing("Mix", draws.mixed, lambda: mixing_fields(draws.layers), draws)
        with gr.Tab("Directions"):
            drawing("Move", draws.moved, lambda: direction_fields(draws.axes), draws)
    if draws.has_encoder:
        with gr.Tab("Reconstruct"):
            uploading("Reconstruct", draws.reconstruct, [])


def drawing(
    verb: str, function: Callable[..., Drawn], own: Callable[[], list], draws: Draws
) -> None:
    """A tab: fields and a button on the left, the image and its settings on the right."""
    with gr.Row():
        with gr.Column():
            fields = [*own(), *shared_fields(draws)]
            button = gr.Button(verb, variant="primary")
        with gr.Column():
            picture = gr.Image(
                label="image",
                format="png",
                height=512,
                elem_classes=["picture", "small" if draws.small else "large"],
                buttons=["download", "fullscreen"],
            )
            settings = gr.DownloadButton("Download settings", interactive=False)
    click = said(lambda *values: kept(function(*values)))
    button.click(click, fields, [picture, settings], api_visibility="private")


def between_fields() -> list:
    seeds = [seed_field("From seed"), seed_field("To seed", 1)]
    return [*seeds, gr.Slider(0, 1, 0.5, step=0.01, label="How far")]


def mixing_fields(layers: int) -> list:
    seeds = [seed_field("Coarse styles of seed"), seed_field("Fine styles of seed", 1)]
    return [*seeds, gr.Slider(0, layers, layers // 2, step=1, label="Fine styles from layer")]


def direction_fields(axes: int) -> list:
    return [
        seed_field("Seed"),
        gr.Slider(0, axes - 1, 0, step=1, label="Main direction of w"),
        gr.Slider(-4, 4, 2, step=0.1, label="Standard deviations"),
    ]


def seed_field(label: str, value: int = 0) -> gr.Number:
    return gr.Number(value, label=label, precision=0, minimum=0, maximum=MOST_SEED)


def shared_fields(draws: Draws) -> list:
    """Truncation and class, where this model has them: what `Draws` takes last."""
    truncation = gr.Slider(
        draws.least, 1.5, 1, step=0.05, label="Truncation", visible=draws.truncates
    )
    names = list(draws.classes)
    label = gr.Dropdown(
        names, value=names[0] if names else None, label="Class", visible=bool(names)
    )
    return [truncation, label]


def translation(translates: Translates) -> None:
    """The page of a translator."""
    choices = list(translates.model.directions)
    direction = gr.Radio(choices, value=choices[0], label="Direction")
    uploading("Translate", translates.translate, [direction])


def uploading(verb: str, function: Callable, fields: list) -> None:
    """A file in; before and after under one slider out."""
    file = gr.File(label="A picture", type="filepath")
    button = gr.Button(verb, variant="primary")
    pair = gr.ImageSlider(label="before and after", format="png", elem_classes="picture")
    button.click(said(function), [file, *fields], pair, api_visibility="private")


def kept(drawn: Drawn) -> tuple[Any, Any]:
    """The image, and the button that gives its settings as a file."""
    name = "-".join(str(value) for value in drawn.facts.values())[:80]
    path = Path(place().name) / f"{''.join(c if c.isalnum() else '-' for c in name)}.json"
    write_text(path, as_json(drawn.facts))
    return drawn.image, gr.DownloadButton(value=str(path), interactive=True)


@functools.cache
def place() -> tempfile.TemporaryDirectory:
    """A folder for what readers may download; it goes with the process."""
    return tempfile.TemporaryDirectory(prefix="largegan-demo-")


def said(function: Callable) -> Callable:
    """What a person can mend is shown on the page, in its sentence."""

    def called(*values: Any) -> Any:
        try:
            return function(*values)
        except UserError as error:
            raise gr.Error(str(error), duration=None, print_exception=False) from error

    return called
