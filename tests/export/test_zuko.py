"""Export to zuko: the same log_prob, on the data's own scale, loaded where there is no nfopt."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zuko
from flows.kinds import KINDS, rows, spec_of, trained

from nfopt.errors import ExportError
from nfopt.export import export_zuko, to_zuko, write_zuko
from nfopt.export.translate import missing
from nfopt.spec import LU, Elementwise, FlowSpec, Layer, Planar, Radial

from .toys import everything, made, mixture, rows_of, simple

# what zuko has a layer for; `mixed` holds planar and radial layers
KNOWN = [kind for kind in KINDS if missing(spec_of(kind, 7, 0, 0)) is None]
CASES = [
    (kind, features, context)
    for kind in KNOWN
    for features, context in ((1, 0), (1, 2), (2, 0), (7, 2), (64, 0))
    if features > 1 or not kind.startswith("coupling")
]


@pytest.mark.parametrize(("kind", "features", "context"), CASES)
def test_the_same_density(kind: str, features: int, context: int) -> None:
    stack = trained(kind, features, context)
    x, given = rows(200, features, context)
    with torch.no_grad():
        wanted = stack.log_prob(x, given)
        for member in (1, 2):
            flow = to_zuko(stack.specs[member], stack.weights(member))
            assert isinstance(flow, zuko.flows.Flow)
            assert (flow(given).log_prob(x) - wanted[member]).abs().max() < 1e-9
        if features < 64:
            drawn = flow(None if given is None else given[0]).sample((5,))
            assert drawn.shape == (5, features)
            assert drawn.isfinite().all()
            # the way back is ours, too
            z, _ = stack.forward(drawn, None if given is None else given[:1])
            back = flow(None if given is None else given[0]).transform.inv(z[2])
            assert (back - drawn).abs().max() < 1e-6


@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize(
    ("bounds", "marginals"),
    [
        (True, "standardise"),
        (False, "standardise"),
        (True, "asinh"),
        (False, "quantile"),
        (True, "asinh,quantile,standardise,quantile"),
    ],
)
def test_the_datas_own_scale(bounds: bool, marginals: str, context: int) -> None:
    flow, table = made(everything(context=context), bounds=bounds, marginals=marginals)
    x, given = table[:, :4], table[:, 4:] if context else None
    theirs = export_zuko(flow)
    seen = None if given is None else torch.from_numpy(given)
    with torch.no_grad():
        found = theirs(seen).log_prob(torch.from_numpy(x)).numpy()
    # the flow itself computes in float32
    np.testing.assert_allclose(found, flow.log_prob(x, given), atol=2e-3)
    assert np.median(np.abs(found - flow.log_prob(x, given))) < 1e-5
    single = export_zuko(flow, dtype=torch.float32)
    assert {weight.dtype for weight in single.parameters()} == {torch.float32}


def test_a_row_outside_the_bounds_has_no_density() -> None:
    flow, table = made(everything())
    x = torch.from_numpy(table[:3].copy())
    x[0, 0], x[1, 1] = 10.0, -7.0
    with torch.no_grad():
        found = export_zuko(flow)().log_prob(x)
    assert found[:2].tolist() == [-torch.inf, -torch.inf]
    assert found[2].isfinite()
    assert np.isneginf(flow.log_prob(x.numpy())[:2]).all()


def test_samples_stay_within_the_bounds_and_look_alike() -> None:
    flow, _ = made(everything())
    theirs = export_zuko(flow)
    # the normalizing flow draws from torch's global generator: keep it as it was
    with torch.random.fork_rng(), torch.no_grad():
        torch.default_generator.manual_seed(0)
        drawn = theirs().sample((4000,)).numpy()
    ours = flow.sample(4000, seed=1)
    assert drawn.dtype == np.float64
    assert ((drawn[:, 0] > 3) & (drawn[:, 0] < 10) & (drawn[:, 1] > -5) & (drawn[:, 3] < 12)).all()
    for share in (0.1, 0.5, 0.9):
        below = (ours <= np.quantile(drawn, share, axis=0)).mean(0)
        assert (np.abs(below - share) < 0.045).all()


def test_the_exported_flow_can_be_trained_on() -> None:
    flow, table = made(everything())
    theirs = export_zuko(flow)
    loss = -theirs().log_prob(torch.from_numpy(table[:, :4])).mean()
    loss.backward()
    gradients = [weight.grad for weight in theirs.parameters()]
    assert all(g is not None and g.isfinite().all() for g in gradients)


LOAD = """
import sys
sys.modules["nfopt"] = None  # an import of nfopt fails from here on
import torch
from safetensors.torch import load_file, save_file
sys.path.insert(0, sys.argv[1])
from zuko_flow import load
given = load_file(sys.argv[2])
flow = load()
with torch.no_grad():
    found = flow(given["context"]).log_prob(given["x"])
    single = load(dtype=torch.float32)(given["context"][0].float())
    assert single.sample((3,)).isfinite().all()
save_file({"found": found}, sys.argv[2])
assert sys.modules["nfopt"] is None and not any(name.startswith("nfopt.") for name in sys.modules)
"""


def test_what_is_written_loads_without_nfopt(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    flow, table = mixture(2)
    path = write_zuko(flow, tmp_path / "out")
    assert path == tmp_path / "out" / "zuko_flow.py"
    names = sorted(each.name for each in path.parent.iterdir())
    assert names == [
        "column_maps.py",
        *(f"zuko_flow.{end}" for end in ("json", "py", "safetensors")),
    ]
    assert json.loads((path.parent / "zuko_flow.json").read_text())["columns"] == list(flow.columns)
    exchange = tmp_path / "rows.safetensors"
    x, given = torch.from_numpy(table[:, :4].copy()), torch.from_numpy(table[:, 4:].copy())
    save_file({"x": x, "context": given}, exchange)
    done = subprocess.run(
        [sys.executable, "-I", "-c", LOAD, str(path.parent), str(exchange)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with torch.no_grad():
        wanted = export_zuko(flow)(given).log_prob(x)
    assert torch.equal(load_file(exchange)["found"], wanted)


@pytest.mark.parametrize(("layer", "kind"), [(Planar(), "planar"), (Radial(), "radial")])
def test_what_zuko_lacks_is_refused_before_any_work(
    layer: Layer, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow, _ = made(FlowSpec(features=2, layers=(LU(), layer)))
    monkeypatch.setitem(sys.modules, "zuko", None)
    for act in (
        lambda: to_zuko(flow.specs[0], {}),
        lambda: export_zuko(flow),
        lambda: write_zuko(flow, tmp_path / "out"),
    ):
        with pytest.raises(ExportError) as error:
            act()
        assert f"`layers` 1 ({kind})" in str(error.value)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_only_what_zuko_lacks_is_left_out_above() -> None:
    shared = (
        "coupling autoregressive elementwise permutation reverse lu identity additive affine spline"
    )
    left = [missing(spec_of(kind, 7, 0, 0)) for kind in KINDS if kind not in KNOWN]
    assert left
    assert not any(f"({kind})" in str(said) for said in left for kind in shared.split())


def scored(theirs: Any, x: np.ndarray, given: np.ndarray | None) -> np.ndarray:
    seen = None if given is None else torch.from_numpy(given)
    with torch.no_grad():
        found: np.ndarray = theirs(seen).log_prob(torch.from_numpy(x)).numpy()
    return found


@pytest.mark.parametrize("context", [0, 2])
def test_a_mixture_keeps_members_maps_and_shares(context: int) -> None:
    flow, data = mixture(context)
    x, given = rows_of(data, context)
    theirs = export_zuko(flow)
    assert isinstance(theirs, zuko.lazy.LazyDistribution)
    np.testing.assert_allclose(
        scored(theirs, x, given), flow.log_prob(x, given, dtype="float64"), rtol=1e-9
    )
    assert theirs.shares.tolist() == pytest.approx([3 / 6, 1 / 6, 2 / 6])
    members = flow.members_log_prob(x, given, dtype="float64")
    for member, one in enumerate(theirs.flows):
        assert isinstance(one, zuko.flows.Flow)
        np.testing.assert_allclose(scored(one, x, given), members[member], rtol=1e-9)
        alone = export_zuko(flow, member=member)
        assert isinstance(alone, zuko.flows.Flow)
        np.testing.assert_allclose(scored(alone, x, given), members[member], rtol=1e-9)
    assert {one.dtype for one in export_zuko(flow, dtype=torch.float32).parameters()} == {
        torch.float32
    }
    with pytest.raises(ValueError, match="`member` must be from 0 to 2, got 3"):
        export_zuko(flow, member=3)


def test_a_mixture_is_drawn_from_by_its_shares() -> None:
    flow, _ = mixture()
    theirs = export_zuko(flow)
    with torch.random.fork_rng(), torch.no_grad():
        torch.default_generator.manual_seed(0)
        drawn = theirs().sample((4000,)).numpy()
    ours = flow.sample(4000, seed=1, round_ties=False)
    for share in (0.1, 0.5, 0.9):
        below = (ours <= np.quantile(drawn, share, axis=0)).mean(0)
        assert (np.abs(below - share) < 0.045).all()


def test_a_conditional_mixture_is_drawn_from_for_each_context() -> None:
    flow, data = mixture(2)
    seen = torch.from_numpy(data[:5, 4:].copy())
    density = export_zuko(flow)(seen)
    assert (density.batch_shape, density.event_shape) == ((5,), (4,))
    assert density.sample().shape == (5, 4)
    assert density.sample((3, 2)).shape == (3, 2, 5, 4)
    assert density.log_prob(density.sample((3,))).isfinite().all()


def test_a_mixture_can_be_trained_on_and_rows_outside_have_no_gradient() -> None:
    flow, data = mixture()
    theirs, x = export_zuko(flow), torch.from_numpy(rows_of(data, 0)[0]).requires_grad_()
    found = theirs().log_prob(x)
    assert found.isneginf().tolist() == [False, True, *[False] * 298]
    found[found.isfinite()].sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert all(one.grad is not None and one.grad.isfinite().all() for one in theirs.parameters())


def test_idle_features_stay_unseen_whoever_trains_on() -> None:
    flow, data = made(everything())
    theirs = export_zuko(flow)
    optimiser = torch.optim.Adam(theirs.parameters(), lr=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        (-theirs().log_prob(torch.from_numpy(data)).mean()).backward()
        optimiser.step()
    # the first coupling, CTIC: the mapped feature must not depend on the idle one
    (layer,) = [one for one in theirs.transform.transforms if getattr(one, "mask", None) is not None
                and one.mask.tolist() == [True, False, True, True]]  # fmt: skip
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    other = x.clone()
    other[:, 2] += 1
    with torch.no_grad():
        assert torch.equal(layer()(x)[:, 1], layer()(other)[:, 1])


def test_without_zuko_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zuko", None)
    flow, _ = made(FlowSpec(features=2, layers=(LU(),)))
    with pytest.raises(ExportError, match=r"^zuko is not installed: pip install nfopt\[zuko\]$"):
        export_zuko(flow)


def test_a_zuko_that_scores_otherwise_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from nfopt.export import zuko_flow

    flow, _ = made(FlowSpec(features=2, layers=(Elementwise(),)))
    monkeypatch.setattr(zuko_flow, "SLOPE", 1e-4)  # the clip of an older zuko
    with pytest.raises(ExportError, match="scores otherwise"):
        export_zuko(flow)


def test_wrong_weights_and_targets(tmp_path: Path) -> None:
    flow, _ = made(FlowSpec(features=2, layers=(LU(),)))
    with pytest.raises(ValueError, match="`weights`"):
        to_zuko(flow.specs[0], {})
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="`directory` must be a directory"):
        write_zuko(flow, tmp_path / "file")
    write_zuko(flow, tmp_path / "out")
    written = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(ValueError, match="is there already and not empty: remove it, or choose"):
        write_zuko(made(simple())[0], tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == written
    (tmp_path / "empty").mkdir()
    write_zuko(flow, tmp_path / "empty")
    assert {path.name for path in (tmp_path / "empty").iterdir()} == set(written)


def test_nothing_is_left_of_what_scores_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nfopt.export import zuko_flow

    monkeypatch.setattr(zuko_flow, "SLOPE", 1e-4)
    with pytest.raises(ExportError, match="scores otherwise"):
        write_zuko(made(FlowSpec(features=2, layers=(Elementwise(),)))[0], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
