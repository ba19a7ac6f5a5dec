"""Our networks, losses and steps against the numbers of published implementations.

Every case of the folder is either built from its `args` and checked in every output, or belongs
to a family that is named in `PENDING`. Nothing is skipped for being unknown.
"""

import pytest

from tests.golden import (
    ada,
    ali,
    biggan,
    cyclegan,
    gat,
    goldcheck,
    lapgan,
    metrics,
    mmd,
    nvlabs_ops,
    power_ema,
    projected_gan,
    r3gan,
    studiogan,
    stylegan2,
    stylegan3,
    stylegan3_ops,
    superres,
    superres_peers,
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
    "ops ada": ada.check,
    "ops GaParmar/clean-fid": metrics.check,
    "metrics": metrics.check_more,
    "r3gan": r3gan.check,
    "r3gan-schedule": r3gan.check_schedules,
    "full-size brownvc/R3GAN": r3gan.check_full,
    "stylegan3": stylegan3.check,
    "full-size NVlabs/stylegan3": stylegan3.check_full,
    "ops NVlabs/stylegan3": stylegan3_ops.check_ops,
    "ops blur-ema": stylegan3_ops.check_blur_ema,
    "ops equivariance": stylegan3_ops.check_equivariance,
    "inception": metrics.check_inception,
    "srgan": superres.check,
    "full-size super-resolution": superres.check_full,
    "ali": ali.check,
    "mmd": mmd.check,
    "lapgan": lapgan.check,
    "projected-gan": projected_gan.check,
    "full-size autonomousvision/projected-gan": projected_gan.check_full,
    "gat": gat.check,
    "ema": power_ema.check,
    "full-size hse1032/GAT": gat.check_full,
}
PENDING: dict[str, str] = {}  # families that later work brings: what will build each


def family(meta: dict) -> str:
    """Which networks a case needs: from its group, its peer and its args, never from its name."""
    group, peer, args = meta["group"], meta["peer"].split()[0], meta.get("args") or {}
    if group == "studiogan":
        return f"{group} {studiogan.family(args['module'])}"
    if group == "ops" and "percentiles" in args:
        return "ops ada"  # the same pipeline in every peer
    if group == "ops" and "op" in args:
        return f"ops {args['op']}"
    if group == "full-size" and peer.split("/")[0] in superres_peers.PEERS:
        return "full-size super-resolution"  # all of them by the words of their constructors
    return f"{group} {peer}" if group in ("ops", "full-size") else group


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


def test_the_subset_covers_every_claimed_family():
    subset = goldcheck.manifest(goldcheck.HERE / "data")
    assert {family(meta) for meta in subset.values()} >= set(CLAIMED)


def test_pending_names_are_not_claimed():
    assert not set(PENDING) & set(CLAIMED)


@pytest.mark.parametrize(
    "model",
    [{"d_cond_mtd": "AC"}, {"g_cond_mtd": "cAdaIN"}, {"info_type": "discrete"}],
    ids=lambda model: next(iter(model)),
)
def test_settings_that_we_do_not_build_are_refused(model):
    args = {"module": "resnet", "cfg": {"MODEL": model}}
    with pytest.raises(NotImplementedError):
        studiogan.build(args)
