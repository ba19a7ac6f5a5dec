"""The model card of a published folder: Markdown whose first lines a hub reads as metadata."""

import json
from typing import TYPE_CHECKING, Any

from largegan.files.version import VERSION
from largegan.recipe import HasEncoder, HasStyles
from largegan.recipes import TABLE
from largegan.restore import Restored

if TYPE_CHECKING:
    from largegan.interop.publish import PublishOptions

FILL_IN = "FILL IN"
TRAINING = ("batch_size", "total_nimg", "seed", "precision")  # settings of `train` that matter


def text(found: Restored, options: "PublishOptions", picture: bool) -> str:
    """The whole README.md."""
    parts = [
        front_matter(found, options),
        f"# {options.name or title(found)}",
        "![what it makes, none of it picked](picture.png)" if picture else "",
        what_it_is(found),
        "## Use",
        code(found, options.name),
        graphs_section(found, options.forms),
        "## Data",
        data_section(found, options),
        "## Training",
        training_section(found),
        "## Scores",
        scores_section(options.scores),
        "## Limits",
        limits_section(found),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def title(found: Restored) -> str:
    return f"{found.name}, {found.spec.height}x{found.spec.width}"


def front_matter(found: Restored, options: "PublishOptions") -> str:
    """YAML that hubs understand. JSON strings are YAML, whatever they hold."""
    task = "image-to-image" if found.recipe.directions else "unconditional-image-generation"
    lines = ["---", "library_name: largegan", f"pipeline_tag: {task}"]
    lines += ["tags:", *(f"- {tag}" for tag in ("gan", found.name, "image-generation"))]
    license_ = json.dumps(options.license) if options.license else f"other  # {FILL_IN}"
    lines.append(f"license: {license_}")
    if options.dataset:
        lines += ["datasets:", f"- {json.dumps(options.dataset)}"]
    return "\n".join([*lines, "---"])


def what_it_is(found: Restored) -> str:
    about, spec, directions = TABLE[found.name][1], found.spec, found.recipe.directions
    if directions:
        does = f"translates images ({', '.join(directions)}), of any size from 8 pixels on"
    else:
        does = f"draws images of {spec.width}x{spec.height} pixels and {spec.channels} channels"
        if found.recipe.num_classes:
            does += f", of {found.recipe.num_classes} classes{named_classes(found)}"
    return (
        f"Recipe `{found.name}` of largegan {VERSION}: {about}. It {does}. The "
        f"weights are averages over training{seen(found)}."
    )


def seen(found: Restored) -> str:
    return f", after {found.nimg:,} images" if found.nimg else ""


def named_classes(found: Restored) -> str:
    names = found.class_names
    if not names:
        return ""
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return f" ({', '.join(names[:20])}{more})"


def code(found: Restored, name: str | None) -> str:
    """Three lines that work with the wheel alone."""
    where = f'"{name}", download=True' if name else '"PATH OF THIS FOLDER"'
    lines = ["```python", "import largegan", f"model = largegan.load({where})"]
    if found.recipe.directions:
        lines.append('image = model.translate("photo.jpg")  # a PIL image')
    else:
        lines.append("images = model.sample(8, seed=0)  # uint8 [8, H, W, C], always the same")
    if isinstance(found.recipe, HasStyles):
        lines.append("images = model.sample(8, truncation=0.7)  # more typical ones")
    if isinstance(found.recipe, HasEncoder):
        lines.append("again = model.reconstruct(images)  # through the encoder and back")
    return "\n".join(
        [*lines, "```", "", "Nothing that is loaded is executed: weights are safetensors."]
    )


def graphs_section(found: Restored, forms: tuple[str, ...]) -> str:
    if not forms:
        return ""
    takes = (
        "images `[N, C, H, W]` in [-1, 1]" if found.recipe.directions else "latents `[N, z_dim]`"
    )
    if found.recipe.num_classes and not found.recipe.directions:
        takes += " and labels int64 `[N]`"
    files = " and ".join({"onnx": "`.onnx`", "pt2": "`torch.export` (`.pt2`)"}[f] for f in forms)
    return f"Beside it as {files}: {takes} in, images in [-1, 1] out, of any batch."


def data_section(found: Restored, options: "PublishOptions") -> str:
    lines = [
        f"- Data set: {options.dataset or FILL_IN}",
        f"- License of the data, and consent of who is shown: {FILL_IN}",
        f"- License of this model: {options.license or FILL_IN}",
    ]
    return "\n".join(lines)


def training_section(found: Restored) -> str:
    """The recipe's options, and the settings of training that matter; no paths of a machine."""
    settings: dict[str, Any] = {"recipe": found.options}
    train = found.state.get("config", {}).get("train", {})
    known = {name: train[name] for name in TRAINING if name in train}
    if known:
        settings["train"] = known
    shown = json.dumps(settings, indent=1, default=str)
    return f"Images seen: {found.nimg:,}.\n\n```json\n{shown}\n```"


def scores_section(scores: tuple[dict[str, Any], ...]) -> str:
    if not scores:
        return f"{FILL_IN}, or publish with `--scores` what `largegan fid --json` wrote."
    rows = ["| score | value | reference | generated | features |", "|---|---|---|---|---|"]
    for answer in scores:
        protocol = answer["protocol"]
        sides = (protocol["reference"], protocol["generated"])
        counts = [f"{side.get('count')} images" for side in sides]
        network = f"{protocol['backbone']['name']} {protocol['backbone']['sha256'][:12]}"
        for name, value in answer["scores"].items():
            if isinstance(value, int | float):
                rows.append(f"| {name} | {value:.5g} | {' | '.join(counts)} | {network} |")
    return "\n".join(rows)


def limits_section(found: Restored) -> str:
    return (
        "A GAN shows what its data show, with their gaps and prejudices, and may show training "
        f"images again. What it must not be used for: {FILL_IN}."
    )
