"""Which engine a player gets, and every combination that is refused before any work."""

import json
import sys
import types
from functools import partial

import psutil
import pytest
import torch

from largegan.errors import ConfigError, EnvironmentFault
from largegan.parallel import choose as choose_module
from largegan.parallel import zero
from largegan.parallel.choose import choose
from largegan.parallel.launch import World
from largegan.parallel.replicated import Replicated
from largegan.parallel.told import read_settings
from tests.parallel.launching import ROOT
from tests.parallel.toy import Toy

TWO, ONE = World(0, 2, torch.device("cpu")), World(0, 1, torch.device("cpu"))
BY_DEEPSPEED = {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "1"}
BY_FSDP = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}


def made(engine, *, world=TWO, env=None, **options) -> dict[str, str]:
    """What each player got: the name of the class, and the stage of ZeRO."""
    shares = choose(engine, Toy(), world, env=env or {}, **options)
    found = {}
    for player, share in shares.items():
        stage = share.keywords.get("stage", "") if isinstance(share, partial) else ""
        found[player] = f"{getattr(share, 'func', share).__name__}{stage}"
    return found


def test_by_player():
    assert made(None) == {"G": "Replicated", "D": "Replicated"}
    assert made("zero1") == {"G": "Zero1", "D": "Zero1"}
    assert made({"G": "fsdp2"}) == {"G": "FSDP2", "D": "Replicated"}
    assert made({"G": "zero2", "D": "fsdp2"}) == {"G": "Zero2", "D": "FSDP2"}


def test_overlap_reaches_the_replicated():
    shares = choose(None, Toy(), TWO, overlap=False, env={})
    assert shares["G"].func is Replicated and shares["G"].keywords == {"overlap": False}


def test_what_accelerate_was_told_is_honoured(tmp_path):
    assert set(made(None, env=BY_DEEPSPEED).values()) == {"Zero1"}
    assert set(made(None, env=BY_FSDP).values()) == {"FSDP2"}
    assert set(made("fsdp2", env=BY_FSDP).values()) == {"FSDP2"}
    file = tmp_path / "zero.json"
    file.write_text(json.dumps({"zero_optimization": {"stage": 1}, "gradient_clipping": "auto"}))
    env = {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_CONFIG_FILE": str(file)}
    assert set(made(None, env=env).values()) == {"Zero1"}
    assert set(made("deepspeed", deepspeed=str(file)).values()) == {"Zero1"}


REFUSED = {
    "unknown player": ({"engine": {"X": "zero1"}}, "names player 'X', but recipe Toy has G, D"),
    "unknown engine": ({"engine": "zero4"}, "no engine 'zero4'"),
    "one process": ({"engine": "fsdp2", "world": ONE}, "there is only one"),
    "one process, zero": ({"engine": "zero1", "world": ONE}, "there is only one"),
    "two opinions": ({"engine": "fsdp2", "env": BY_DEEPSPEED}, "asks for engine zero1"),
    "FSDP 1": ({"engine": None, "env": BY_FSDP | {"FSDP_VERSION": "1"}}, "fsdp_version: 2"),
    "clipping": (
        {"engine": None, "env": BY_DEEPSPEED | {"ACCELERATE_GRADIENT_CLIPPING": "1.0"}},
        "gradient_clipping must be 0",
    ),
    "offload": (
        {
            "engine": None,
            "env": BY_DEEPSPEED | {"ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE": "cpu"},
        },
        "offloads",
    ),
    "precision": ({"engine": None, "env": {"ACCELERATE_MIXED_PRECISION": "fp16"}}, "fp16"),
    "accumulation": (
        {"engine": None, "env": {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4"}},
        "micro_batch_size",
    ),
    "compiling": ({"engine": None, "env": {"ACCELERATE_DYNAMO_BACKEND": "INDUCTOR"}}, "inductor"),
    "another plan": (
        {"engine": None, "env": {"ACCELERATE_USE_PARALLELISM_CONFIG": "true"}},
        "parallelism_config",
    ),
    "offload of FSDP": (
        {"engine": None, "env": BY_FSDP | {"FSDP_OFFLOAD_PARAMS": "true"}},
        "fsdp_offload_params to true, which is not honored",
    ),
    "wrapping": (
        {"engine": None, "env": BY_FSDP | {"FSDP_TRANSFORMER_CLS_TO_WRAP": "Block"}},
        "a player is gathered as a whole",
    ),
    "no file": ({"engine": "deepspeed", "deepspeed": "nowhere.json"}, "nowhere.json"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_in_one_sentence(kind):
    options, words = REFUSED[kind]
    with pytest.raises(ConfigError, match=words) as refusal:
        made(**options)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "words", [["--gradient_accumulation_steps", "4"], ["--gradient-accumulation-steps=4"]]
)
def test_an_option_that_accelerate_keeps_to_itself(words, monkeypatch):
    """Without DeepSpeed it reaches no environment; the launcher's own command line has it."""
    line = ["python", "-m", "accelerate.commands.launch", *words, "-m", "largegan.train"]
    monkeypatch.setattr(psutil.Process, "cmdline", lambda self: line)
    with pytest.raises(ConfigError, match="sets gradient_accumulation_steps to 4, which is not"):
        made(None, env={"ACCELERATE_MIXED_PRECISION": "no"})
    assert set(made(None).values()) == {"Replicated"}  # somebody else's parent
    line[3:5] = ["--gradient_accumulation_steps", "1"]
    assert set(made(None, env={"ACCELERATE_MIXED_PRECISION": "no"}).values()) == {"Replicated"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"gradient_clipping": 1.0}, "gradient_clipping must be 0"),
        ({"gradient_accumulation_steps": 2}, "gradient_accumulation_steps must be 1"),
        ({"bf16": {"enabled": True}}, "leave bf16 out"),
        ({"fp16": {"enabled": True}}, "leave fp16 out"),
        ({"optimizer": {"type": "Adam"}}, "leave optimizer out"),
        ({"zero_optimization": {"stage": 0}}, "stage must be 1, 2 or 3"),
        ({"zero_optimization": {"offload_optimizer": {"device": "cpu"}}}, "not been tried"),
        ({"train_batch_size": 64}, r"leave train_batch_size out; state --train\.batch_size"),
        ({"prescale_gradients": True}, "prescale_gradients is not honored"),
        (
            {"zero_optimization": {"zero_quantized_gradients": True}},
            r"zero_optimization\.zero_quantized_gradients is not honored",
        ),
        ([], "expected an object"),
    ],
)
def test_deepspeed_files_that_would_change_training(content, words, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=words):
        read_settings(str(tmp_path / "a.json"))


def test_a_missing_or_old_deepspeed(monkeypatch):
    def absent(name):
        raise choose_module.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(choose_module.metadata, "version", absent)
    with pytest.raises(EnvironmentFault, match=r"pip install 'largegan\[deepspeed\]'"):
        made("zero1")
    monkeypatch.setattr(choose_module.metadata, "version", lambda name: "0.18.9")
    with pytest.raises(EnvironmentFault, match=r"0\.19\.1 or newer"):
        made("zero1")


@pytest.mark.parametrize("file", sorted((ROOT / "configs" / "deepspeed").glob("*.json")))
def test_our_own_files_are_honored(file):
    assert read_settings(str(file))["zero_optimization"]["stage"] in (1, 2, 3)


@pytest.mark.parametrize(("said", "expected"), [({}, 12), ({"reduce_bucket_size": 7}, 7)])
def test_deepspeed_takes_no_more_memory_than_a_player_has(said, expected, monkeypatch):
    """Its own choice is 2 GB for each player, taken at once."""
    seen = {}

    def initialize(model, optimizer, config):
        seen.update(config)
        return [None]

    names = {"init_distributed": lambda *_, **__: None, "initialize": initialize}
    ops = types.SimpleNamespace(__compatible_ops__={})
    monkeypatch.setitem(sys.modules, "deepspeed", types.SimpleNamespace(ops=ops, **names))
    monkeypatch.setattr(torch.distributed, "get_backend", lambda: "gloo")
    zero.initialize(torch.nn.Linear(3, 3), None, 3, {"zero_optimization": said})
    assert seen["zero_optimization"]["reduce_bucket_size"] == expected
