"""Export to zuko: the same log_prob, on the data's own scale, loaded where there is no nfopt."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import zuko
from flows.kinds import KINDS, rows, spec_of, trained

from nfopt.data import Preprocessing
from nfopt.data.maps.preprocess import ColumnHint
from nfopt.errors import ExportError
from nfopt.export import export_zuko, to_zuko, write_zuko
from nfopt.export.translate import missing
from nfopt.flows import build
from nfopt.model import Flow
from nfopt.spec import (
    LU,
    Additive,
    Autoregressive,
    Conditioner,
    Coupling,
    Elementwise,
    FlowSpec,
    Identity,
    Layer,
    Permutation,
    Planar,
    Radial,
    Reverse,
    Spline,
    StudentT,
)

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


def everything(features: int = 4, context: int = 0) -> FlowSpec:
    net = Conditioner(width=12, hidden_layers=3, activation="elu", residual=True)
    return FlowSpec(
        features=features,
        layers=(
            Reverse(),
            LU(),
            Coupling(mask=("CTI" * features)[:features], map=Spline(bins=5), conditioner=net),
            Identity(),
            Permutation(order=(*range(1, features), 0)),
            Elementwise(map=Spline(bins=3, bound=2.0)),
            Autoregressive(parents=((), (0,), (), (0, 2)), map=Spline(bins=4), conditioner=net),
            Coupling(mask=("TC" * features)[:features], map=Additive()),
        ),
        context_features=context,
        base=StudentT(df=6.0),
    )


def made(
    spec: FlowSpec, *, members: int = 1, bounds: bool = True, marginals: str = "standardise"
) -> tuple[Flow, np.ndarray]:
    """An untrained flow far from the identity, and data as it comes: bounded, large, shifted."""
    rng = np.random.default_rng(0)
    x = np.stack(
        [
            rng.beta(2, 3, 300) * 7 + 3,  # from 3 to 10
            np.exp(rng.standard_normal(300)) - 5,  # above -5
            1e6 + 30 * rng.standard_normal(300),
            12 - rng.gamma(2.0, size=300),  # below 12
        ],
        1,
    )[:, : spec.features]
    hints = [ColumnHint(3.0, 10.0), ColumnHint(-5.0), ColumnHint(), ColumnHint(high=12.0)]
    context = 2000 + 10 * rng.standard_normal((300, spec.context_features))
    before = Preprocessing.fit(
        x,
        [f"column {k}" for k in range(spec.features)],
        hints[: spec.features] if bounds else None,
        marginals=marginals,
        context=context if spec.context_features else None,
        context_columns=[f"given {k}" for k in range(spec.context_features)],
    )
    generator = torch.Generator().manual_seed(3)
    (stack,) = build([spec] * members, generator)
    with torch.no_grad():
        stack.theta += 0.3 * torch.randn(stack.theta.shape, generator=generator)
    return Flow.of(stack, before), np.concatenate([x, context], 1)


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

    flow, table = made(everything(context=2))
    path = write_zuko(flow, tmp_path / "out")
    assert path == tmp_path / "out" / "zuko_flow.py"
    names = sorted(each.name for each in path.parent.iterdir())
    assert names == ["zuko_flow.json", "zuko_flow.py", "zuko_flow.safetensors"]
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
    write_zuko(flow, tmp_path / "out")  # again, over what is there


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


def test_an_ensemble_needs_a_choice(tmp_path: Path) -> None:
    flow, table = made(FlowSpec(features=2, layers=(LU(),)), members=3)
    with pytest.raises(ExportError, match="choose a `member` from 0 to 2"):
        export_zuko(flow)
    with pytest.raises(ExportError, match="`member`"):
        write_zuko(flow, tmp_path)
    with pytest.raises(ValueError, match="`member` must be from 0 to 2, got 3"):
        export_zuko(flow, member=3)
    x = table[:, :2]
    found = export_zuko(flow, member=2)().log_prob(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(found, flow.members_log_prob(x)[2], atol=1e-4)


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
