"""Our networks, losses and steps against the numbers of published implementations.

Every case of the folder is either built from its `args` and checked in every output, or belongs
to a family that is named in `PENDING`. Nothing is skipped for being unknown.
"""

import pytest

from tests.golden import (
    ada,
    biggan,
    cyclegan,
    gat,
    goldcheck,
    metrics,
    nvlabs_ops,
    power_ema,
    projected_gan,
    studiogan,
    stylegan2,
)

# The manifest expects other orders of arithmetic to pass at 1 to 4 times its tolerances. Cases of
# the shared collection pass at 1; of 26 further ones made by running the peer, all passed at 1.2.
SLACK = 4.0
FOLDER = goldcheck.folder()
CASES = goldcheck.manifest(FOLDER)

CLAIMED = {
    "studiogan deep_conv": studiogan.check,
    "studiogan resnet": studiogan.check,
    "studiogan big_resnet": studiogan.check,
    "studiogan big_resnet_deep_legacy": studiogan.check,
    "studiogan big_resnet_deep_studiogan": studiogan.check,
    "biggan": biggan.check,
    "full-size ajbrock/BigGAN-PyTorch": biggan.check_full_size,
    "cyclegan-cut": cyclegan.check,
    "full-size taesungp/contrastive-unpaired-translation": cyclegan.check_full,
    "stylegan2-ada": stylegan2.check,
    "full-size NVlabs/stylegan2-ada-pytorch": stylegan2.check_full,
    "ops NVlabs/stylegan2-ada-pytorch": nvlabs_ops.check,
    "ops NVlabs/stylegan2-ada-pytorch ada": ada.check,
    "ops GaParmar/clean-fid": metrics.check,
    "projected-gan": projected_gan.check,
    "full-size autonomousvision/projected-gan": projected_gan.check_full,
    "gat": gat.check,
    "ema": power_ema.check,
    "full-size hse1032/GAT": gat.check_full,
    "inception": metrics.check_inception,
}
PENDING = {  # families that later work brings
    "r3gan",
    "stylegan3",
    "ops NVlabs/stylegan3",
    "full-size NVlabs/stylegan3",
    "full-size brownvc/R3GAN",
}


def family(meta: dict) -> str:
    """Which networks a case needs: from its group, its peer and its args, never from its name."""
    group, peer = meta["group"], meta["peer"].split()[0]
    if group == "studiogan":
        return f"{group} {studiogan.family(meta['args']['module'])}"
    ada = " ada" if "percentiles" in meta.get("args", {}) else ""
    return f"{group} {peer}{ada}" if group in ("ops", "full-size") else group


@pytest.mark.parametrize("name", CASES)
def test_case(name):
    kind = family(CASES[name])
    if kind in PENDING:
        return
    assert kind in CLAIMED, f"no one builds the family {kind!r}: claim it or list it in PENDING"
    case = goldcheck.Case(FOLDER, name, slack=SLACK)
    CLAIMED[kind](case)
    assert case.checked == case.outputs(), "outputs of the file that nobody compared"
    assert not case.failures, "\n".join(case.failures)


def test_the_folder_covers_every_claimed_family():
    assert {family(meta) for meta in CASES.values()} >= set(CLAIMED)


def test_pending_names_are_not_claimed():
    assert not PENDING & set(CLAIMED)


@pytest.mark.parametrize(
    "model",
    [{"d_cond_mtd": "AC"}, {"g_cond_mtd": "cAdaIN"}, {"info_type": "discrete"}],
    ids=lambda model: next(iter(model)),
)
def test_settings_that_we_do_not_build_are_refused(model):
    args = {"module": "resnet", "cfg": {"MODEL": model}}
    with pytest.raises(NotImplementedError):
        studiogan.build(args)
