"""What `accelerate launch` and a DeepSpeed file were told: honored, or refused in a sentence."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import psutil

from largegan.errors import ConfigError

# Environment variables of `accelerate launch`: what its file calls them, values that ask for
# nothing, and what to do instead.
NOT_HONORED = {
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": (
        "gradient_accumulation_steps",
        ("1", "auto"),
        "state --train.batch_size and --train.micro_batch_size",
    ),
    "ACCELERATE_DYNAMO_BACKEND": ("dynamo_backend", ("no",), "leave dynamo_backend out"),
    "ACCELERATE_USE_PARALLELISM_CONFIG": (
        "parallelism_config",
        ("false", "0"),
        "leave parallelism_config out; --parallel.engine shares players out",
    ),
    "FSDP_OFFLOAD_PARAMS": (
        "fsdp_offload_params",
        ("false",),
        "leave it out: weights stay on the GPU",
    ),
    "FSDP_ACTIVATION_CHECKPOINTING": (
        "fsdp_activation_checkpointing",
        ("false",),
        "use smaller --train.micro_batch_size",
    ),
    "FSDP_IGNORED_MODULES": (
        "fsdp_ignored_modules",
        (),
        "choose engines by player: --parallel.engine '{G: fsdp2}'",
    ),
    "FSDP_TRANSFORMER_CLS_TO_WRAP": (
        "fsdp_transformer_layer_cls_to_wrap",
        (),
        "leave it out: a player is gathered as a whole",
    ),
}
# What a DeepSpeed file may say besides. All else would be without effect, or has one on numbers.
HONORED = {
    "zero_optimization",
    "zero_allow_untested_optimizer",
    "zero_force_ds_cpu_optimizer",
    "steps_per_print",
    "wall_clock_breakdown",
    "comms_logger",
    "dump_state",
}
HONORED_OF_ZERO = {
    "stage",
    "contiguous_gradients",
    "overlap_comm",
    "reduce_scatter",
    "reduce_bucket_size",
    "allgather_partitions",
    "allgather_bucket_size",
    "sub_group_size",
    "stage3_prefetch_bucket_size",
    "stage3_max_live_parameters",
    "stage3_max_reuse_distance",
    "stage3_param_persistence_threshold",
    "stage3_gather_16bit_weights_on_model_save",
}


def told_by_accelerate(env: Mapping[str, str], precision: str) -> tuple[str | None, str | None]:
    """(the engine that `accelerate launch` was told to use, its DeepSpeed file)."""
    mixed = env.get("ACCELERATE_MIXED_PRECISION", "no")
    if mixed not in ("no", precision):
        raise ConfigError(
            f"accelerate's configuration asks for mixed precision {mixed}, train.precision is "
            f"{precision}; say --train.precision bf16, or mixed_precision: 'no'"
        )
    asked = asked_of_launcher(env)
    for variable, (setting, neutral, remedy) in NOT_HONORED.items():
        value = env.get(variable, asked.get(setting, "")).lower()
        if value not in ("", "none", *neutral):
            raise ConfigError(
                f"accelerate's configuration sets {setting} to {value}, which "
                f"is not honored here; {remedy}"
            )
    if on(env, "ACCELERATE_USE_DEEPSPEED"):
        return told_deepspeed(env)
    if on(env, "ACCELERATE_USE_FSDP"):
        if env.get("FSDP_VERSION", "1") != "2":
            raise ConfigError(
                "accelerate's configuration asks for FSDP 1, which cannot differentiate through a "
                "gradient; set fsdp_version: 2"
            )
        return "fsdp2", None
    if on(env, "ACCELERATE_USE_MEGATRON_LM"):
        raise ConfigError("Megatron-LM has no image GANs; use parallel.engine")
    return None, None


def asked_of_launcher(env: Mapping[str, str]) -> dict[str, str]:
    """What `accelerate launch` was asked for as an option, which it hands to DeepSpeed alone.

    It is the parent of its processes, and where it is not, nothing is known.
    """
    if "ACCELERATE_MIXED_PRECISION" not in env:  # it sets this in all that it starts
        return {}
    try:
        words = psutil.Process(os.getppid()).cmdline()
    except psutil.Error:
        return {}
    option, found = "gradient_accumulation_steps", {}
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.removeprefix("--").partition("=")
        if word.startswith("--") and name.replace("-", "_") == option:
            found[option] = value if equals else following
    return found


def told_deepspeed(env: Mapping[str, str]) -> tuple[str, str | None]:
    """Accelerate hands over a JSON file, or single settings."""
    file = env.get("ACCELERATE_DEEPSPEED_CONFIG_FILE")
    if file and file.lower() != "none":
        return "deepspeed", file
    clipping = env.get("ACCELERATE_GRADIENT_CLIPPING", "0").lower()
    check_settings(
        {"gradient_clipping": 0 if clipping == "none" else float(clipping)}, "accelerate"
    )
    for kind in ("OPTIMIZER", "PARAM"):
        if env.get(f"ACCELERATE_DEEPSPEED_OFFLOAD_{kind}_DEVICE", "none").lower() != "none":
            raise ConfigError(
                f"accelerate's configuration offloads ({kind.lower()}), which has not been tried "
                "with two players; leave it out"
            )
    return f"zero{env.get('ACCELERATE_DEEPSPEED_ZERO_STAGE', '2')}", None


def on(env: Mapping[str, str], name: str) -> bool:
    return env.get(name, "false").lower() in ("true", "1", "yes")


def read_settings(path: str | None) -> dict:
    """A DeepSpeed JSON file, without what says "auto"."""
    if path is None:
        return {}
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as fault:
        raise ConfigError(f"DeepSpeed file {path}: cannot be read ({fault.strerror})") from None
    except (ValueError, RecursionError) as fault:
        raise ConfigError(f"DeepSpeed file {path}: not valid JSON ({fault})") from None
    if not isinstance(content, dict):
        raise ConfigError(f"DeepSpeed file {path}: expected an object at the top level")
    content = without_auto(content)
    check_settings(content, f"DeepSpeed file {path}")
    return content


def without_auto(section: dict) -> dict:
    """Settings that are left to Accelerate are left out."""
    return {
        key: without_auto(value) if isinstance(value, dict) else value
        for key, value in section.items()
        if value != "auto"
    }


def check_settings(settings: dict, source: str) -> None:
    """Refuses what would change training in silence, or twice."""
    if settings.get("gradient_clipping", 0) != 0:
        raise ConfigError(
            f"{source}: gradient_clipping must be 0; --train.max_grad_norm clips, under every "
            "engine alike"
        )
    if settings.get("gradient_accumulation_steps", 1) != 1:
        raise ConfigError(
            f"{source}: gradient_accumulation_steps must be 1; state --train.micro_batch_size"
        )
    for section in ("bf16", "fp16", "torch_autocast"):
        if settings.get(section, {}).get("enabled"):
            raise ConfigError(
                f"{source}: leave {section} out; weights stay float32, and --train.precision bf16 "
                "computes in bfloat16"
            )
    for section in ("optimizer", "scheduler"):
        if section in settings:
            raise ConfigError(f"{source}: leave {section} out; the recipe says how to optimize")
    for size in ("train_batch_size", "train_micro_batch_size_per_gpu"):
        if size in settings:
            raise ConfigError(
                f"{source}: leave {size} out; state --train.batch_size and --train.micro_batch_size"
            )
    zero = settings.get("zero_optimization", {})
    if zero.get("stage", 2) not in (1, 2, 3):
        raise ConfigError(f"{source}: zero_optimization.stage must be 1, 2 or 3")
    for section in ("offload_optimizer", "offload_param"):
        if zero.get(section, {}).get("device", "none") != "none":
            raise ConfigError(f"{source}: {section} has not been tried with two players")
    refused = {"gradient_clipping", "gradient_accumulation_steps", "bf16", "fp16", "torch_autocast"}
    unknown = [*(settings.keys() - HONORED - refused)]
    unknown += [
        f"zero_optimization.{name}"
        for name in zero.keys() - HONORED_OF_ZERO - {"offload_optimizer", "offload_param"}
    ]
    if unknown:
        raise ConfigError(
            f"{source}: {sorted(unknown)[0]} is not honored by engines that share players out; "
            "leave it out"
        )
