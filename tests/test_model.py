"""The flow that a user holds: density, samples, disk, and what it says to wrong input."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from nfopt.data import ColumnHint, Preprocessing
from nfopt.flows import build
from nfopt.model import Flow
from nfopt.spec import (
    LU,
    Affine,
    Autoregressive,
    Conditioner,
    Coupling,
    Elementwise,
    FlowSpec,
    Spline,
    TrainSpec,
)
from nfopt.training import TrainData, train

NET = Conditioner(width=8, hidden_layers=1)
COLUMNS = ("mass", "width", "share")
Array = NDArray[np.float64]


def table(rows: int = 300, seed: int = 0) -> Array:
    """One plain column, one positive, one within (0, 1)."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(rows, 3))
    return np.column_stack([50 + 7 * a[:, 0], np.exp(a[:, 1]), 1 / (1 + np.exp(-a[:, 2]))])


def preprocessing(context: Array | None = None) -> Preprocessing:
    return Preprocessing.fit(
        table(),
        COLUMNS,
        [ColumnHint(), ColumnHint(low=0.0), ColumnHint(low=0.0, high=1.0)],
        context=context,
        context_columns=() if context is None else ("hour", "place"),
    )


def affine(context: int = 0) -> FlowSpec:
    layers = (LU(), Coupling(mask="CTT", map=Affine(), conditioner=NET))
    return FlowSpec(features=3, layers=layers, context_features=context)


def spline(context: int = 0) -> FlowSpec:
    map = Spline(bins=4)
    layers = (Autoregressive(order=(2, 0, 1), map=map, conditioner=NET), Elementwise(map=map))
    return FlowSpec(features=3, layers=layers, context_features=context)


def make_flow(specs: list[FlowSpec], **options: Any) -> Flow:
    weights: list[dict[str, torch.Tensor]] = [{} for _ in specs]
    for stack in build(specs, torch.Generator().manual_seed(1)):
        with torch.no_grad():
            stack.theta.add_(stack.active * 0.3 * noise(stack.theta.shape, seed=3))
        for row, member in enumerate(stack.positions):
            weights[member] = stack.weights(row)
    seen = None
    if specs[0].context_features:
        seen = np.random.default_rng(5).normal(3, 2, size=(300, 2))
    return Flow(specs, weights, preprocessing(seen), **options)


def noise(shape: torch.Size, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


FLOWS: dict[str, Callable[[], Flow]] = {
    "one affine": lambda: make_flow([affine()]),
    "one spline": lambda: make_flow([spline()]),
    "equal shapes": lambda: make_flow([affine()] * 3),
    "mixed shapes": lambda: make_flow([affine(), spline(), affine()]),
    "with context": lambda: make_flow([affine(2), spline(2)]),
    "no layers": lambda: make_flow([FlowSpec(features=3)]),
}


def context_of(flow: Flow, rows: int) -> Array | None:
    if not flow.context_columns:
        return None
    return np.random.default_rng(9).normal(3, 2, size=(rows, 2))


@pytest.fixture(params=FLOWS)
def flow(request: pytest.FixtureRequest) -> Flow:
    return FLOWS[request.param]()


# ------------------------------------------------------------------------------------ density


def test_log_prob_is_the_mixture_on_the_scale_of_the_data(flow: Flow) -> None:
    x = table(40, seed=2)
    given = context_of(flow, 40)
    members = flow.members_log_prob(x, given)
    assert members.shape == (len(flow), 40)
    z, logdet = flow.preprocessing.forward(x)
    seen = None
    if given is not None:
        seen = torch.from_numpy(flow.preprocessing.forward_context(given)).float()
    for member, spec in enumerate(flow.specs):
        (alone,) = build([spec], torch.Generator())
        alone.load_weights(0, flow.weights(member))
        with torch.no_grad():
            expected = alone.log_prob(torch.from_numpy(z).float(), seen)[0].numpy() + logdet
        np.testing.assert_allclose(members[member], expected, atol=1e-4)
    mixture = np.log(np.exp(members).mean(axis=0))
    scores = flow.log_prob(x, given)
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, mixture, atol=1e-10)
    np.testing.assert_allclose(flow.disagreement(x, given), members.std(axis=0), atol=1e-12)


def test_the_density_integrates_to_1_on_the_scale_of_the_data() -> None:
    spec = FlowSpec(features=1, layers=(Elementwise(map=Spline(bins=6)),))
    (stack,) = build([spec] * 2, torch.Generator().manual_seed(1))
    with torch.no_grad():
        stack.theta.add_(noise(stack.theta.shape, seed=2))
    values = np.random.default_rng(0).gamma(3.0, 20.0, size=(500, 1))
    fitted = Preprocessing.fit(values, ["dose"], [ColumnHint(low=0.0)])
    grid = np.geomspace(1e-4, 1e6, 40_000)
    density = np.exp(Flow.of(stack, fitted).log_prob(grid[:, None]))
    assert np.trapezoid(density, grid) == pytest.approx(1.0, abs=1e-3)


def test_far_rows_do_not_underflow_and_rows_outside_have_no_density() -> None:
    flow = make_flow([affine()] * 2)
    x = table(3)
    x[0, 0] = 1e6
    x[1, 2] = 1.5  # outside (0, 1)
    scores = flow.log_prob(x)
    assert np.isfinite(scores[[0, 2]]).all()
    assert scores[0] < -1e6
    assert scores[1] == -math.inf
    assert flow.disagreement(x)[1] == 0


def test_members_agree_where_the_data_is_and_drift_apart_where_it_is_not() -> None:
    x = table(2000)
    fitted = preprocessing()
    z = torch.from_numpy(fitted.forward(x)[0]).float()
    (stack,) = build([affine()] * 4, torch.Generator().manual_seed(0))
    data = TrainData(x=z[:1600], val=z[1600:])
    spec = TrainSpec(steps=150, learning_rate=0.02)
    train(stack, spec, data, generator=torch.Generator().manual_seed(1))
    flow = Flow.of(stack, fitted)
    far = np.column_stack([np.full(50, 200.0), np.full(50, 200.0), np.full(50, 0.999)])
    assert flow.disagreement(far).mean() > 5 * flow.disagreement(x).mean()
    assert len(Flow.of(stack, fitted, members=[2, 0])) == 2


def test_many_rows_are_scored_in_chunks_with_the_same_result(
    monkeypatch: pytest.MonkeyPatch, flow: Flow
) -> None:
    x, given = table(500, seed=4), context_of(flow, 500)
    whole = flow.log_prob(x, given)
    monkeypatch.setattr("nfopt.model.chunks.CPU_ELEMENTS", 1)
    monkeypatch.setattr("nfopt.model.flow.ROWS", 130)
    np.testing.assert_allclose(flow.log_prob(x, given), whole, atol=1e-4)


def test_no_rows_give_no_scores(flow: Flow) -> None:
    assert flow.log_prob(np.empty((0, 3)), context_of(flow, 0)).shape == (0,)


def test_arrays_tensors_lists_and_frames_score_the_same() -> None:
    flow = make_flow([affine()])
    x = table(5)
    scores = flow.log_prob(x)
    frame = pd.DataFrame(x, columns=list(COLUMNS))
    for same in (torch.from_numpy(x), x.tolist(), frame, dict(frame)):
        np.testing.assert_allclose(flow.log_prob(same), scores)
    moved = frame[["share", "mass", "width"]].assign(label="a")
    np.testing.assert_allclose(flow.log_prob(moved), scores)


def test_context_by_name_by_position_and_one_row_for_all() -> None:
    flow = make_flow([affine(2)])
    x, given = table(5), np.tile([1.0, 2.0], (5, 1))
    scores = flow.log_prob(x, given)
    frame = pd.DataFrame(x, columns=list(COLUMNS))
    hours = pd.DataFrame({"place": given[:, 1], "hour": given[:, 0]})
    for rows, context in (
        (x, [1.0, 2.0]),
        (x, hours),
        (np.hstack([x, given]), None),
        (frame, given),
        (frame.join(hours), None),
    ):
        np.testing.assert_allclose(flow.log_prob(rows, context), scores)


def test_a_flow_of_nameless_data_takes_frames_by_position() -> None:
    (stack,) = build([affine()], torch.Generator().manual_seed(0))
    flow = Flow.of(stack, Preprocessing.fit(table(), ["x0", "x1", "x2"]))
    x = table(5)
    frame = pd.DataFrame(x, columns=list("abc"))
    np.testing.assert_allclose(flow.log_prob(frame), flow.log_prob(x))


# ------------------------------------------------------------------------------------ samples


def test_samples_are_on_the_scale_of_the_data_and_repeat_with_the_seed(flow: Flow) -> None:
    given = context_of(flow, 200)
    rows = flow.sample(200, seed=1, context=given)
    assert rows.shape == (200, 3)
    assert rows.dtype == np.float64
    assert (rows[:, 1] > 0).all()
    assert ((rows[:, 2] > 0) & (rows[:, 2] < 1)).all()
    np.testing.assert_array_equal(flow.sample(200, seed=1, context=given), rows)
    assert not np.array_equal(flow.sample(200, seed=2, context=given), rows)
    assert not np.array_equal(flow.sample(200, context=given), flow.sample(200, context=given))
    precise = flow.sample(200, seed=1, context=given, dtype=np.float64)
    assert precise.shape == (200, 3)
    assert flow.sample(0, seed=1, context=context_of(flow, 0)).shape == (0, 3)


def test_samples_follow_the_density() -> None:
    flow = make_flow([affine(), spline()])
    rows = flow.sample(20_000, seed=3)
    # E[1 / p(x) 1(x in A)] over samples is the volume of A
    low, high = np.array([45.0, 0.5, 0.3]), np.array([55.0, 1.5, 0.7])
    inside = ((rows > low) & (rows < high)).all(axis=1)
    assert inside.sum() > 300
    volume = np.exp(-flow.log_prob(rows[inside])).sum() / len(rows)
    assert volume == pytest.approx(np.prod(high - low), rel=0.2)


def test_every_member_gives_its_share_of_the_samples() -> None:
    shift = [FlowSpec(features=3, layers=(Elementwise(map=Affine()),))] * 2
    flow = make_flow(shift)
    (stack,) = flow.stacks
    stack.load_weights(0, {k: torch.zeros_like(w) for k, w in stack.weights(0).items()})
    stack.load_weights(1, {k: torch.full_like(w, 3.0) for k, w in stack.weights(1).items()})
    scores = flow.members_log_prob(flow.sample(4000, seed=0))
    share = (scores[0] > scores[1]).mean()
    assert 0.45 < share < 0.55


def test_samples_follow_their_context() -> None:
    flow = make_flow([affine(2)])
    one = flow.sample(3, seed=0, context=[1.0, 2.0])
    np.testing.assert_array_equal(one, flow.sample(3, seed=0, context=[[1.0, 2.0]] * 3))
    assert not np.allclose(one, flow.sample(3, seed=0, context=[9.0, -9.0]))


# --------------------------------------------------------------------------------------- disk


def test_saved_and_loaded_is_the_same_flow(flow: Flow, tmp_path: Path) -> None:
    flow.info |= {"name": "toy", "scores": {"validation_nll": 1.5}}
    home = flow.save(tmp_path / "deep" / "run")
    assert sorted(file.name for file in home.iterdir()) == ["flow.json", "flow.safetensors"]
    x, given = table(30), context_of(flow, 30)
    for path in (home, str(home), home / "flow.json", home / "flow.safetensors"):
        again = Flow.load(path)
        np.testing.assert_array_equal(again.log_prob(x, given), flow.log_prob(x, given))
    np.testing.assert_array_equal(
        again.sample(5, seed=0, context=[0.0, 0.0] if flow.context_columns else None),
        flow.sample(5, seed=0, context=[0.0, 0.0] if flow.context_columns else None),
    )
    assert again.specs == flow.specs
    assert again.preprocessing == flow.preprocessing
    assert again.info["scores"] == {"validation_nll": 1.5}
    assert again.info["versions"].keys() >= {"nfopt", "torch", "python"}
    assert repr(again) == repr(flow)


def test_saving_again_replaces_the_flow_and_nothing_else(tmp_path: Path) -> None:
    make_flow([spline()]).save(tmp_path)
    (tmp_path / "report.html").write_text("mine")
    make_flow([affine()] * 2).save(tmp_path)
    assert Flow.load(tmp_path).specs == (affine(), affine())
    assert (tmp_path / "report.html").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 3


def test_a_save_that_fails_leaves_the_old_flow(tmp_path: Path) -> None:
    flow = make_flow([spline()])
    flow.save(tmp_path)
    other = make_flow([affine()])
    other.info["wrong"] = object()
    with pytest.raises(TypeError):
        other.save(tmp_path)
    assert Flow.load(tmp_path).specs == flow.specs
    assert len(list(tmp_path.iterdir())) == 2


def test_a_save_cut_between_its_files_is_still_a_whole_flow(tmp_path: Path) -> None:
    make_flow([spline()]).save(tmp_path / "old")
    make_flow([affine()]).save(tmp_path / "new")
    (tmp_path / "new" / "flow.safetensors").replace(tmp_path / "old" / "flow.safetensors")
    assert Flow.load(tmp_path / "old").specs == (affine(),)


def edit(home: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the description in both of its places."""
    text = json.loads((home / "flow.json").read_text())
    change(text)
    (home / "flow.json").write_text(json.dumps(text))
    tensors = load_file(home / "flow.safetensors")
    save_file(tensors, home / "flow.safetensors", metadata={"flow.json": json.dumps(text)})


def drop_a_weight(home: Path) -> None:
    tensors = load_file(home / "flow.safetensors")
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, home / "flow.safetensors")


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no weights": (lambda home: (home / "flow.safetensors").unlink(), "safetensors is missing"),
    "no description": (lambda home: (home / "flow.json").unlink(), "flow.json is missing"),
    "not JSON": (lambda home: (home / "flow.json").write_text("{]"), "can't be read"),
    "other JSON": (lambda home: (home / "flow.json").write_text("[1]"), "can't be read"),
    "not text": (lambda home: (home / "flow.json").write_bytes(b"\xff\xfe\x00"), "can't be read"),
    "empty weights": (lambda home: (home / "flow.safetensors").write_bytes(b""), "can't be read"),
    "a later version": (lambda home: edit(home, lambda d: d.update(version=9)), "version 9"),
    "a later spec": (
        lambda home: edit(home, lambda d: d["members"][0].update(version=9)),
        "`version` 9",
    ),
    "an unknown field": (lambda home: edit(home, lambda d: d.update(more=1)), "more"),
    "an unknown layer": (
        lambda home: edit(home, lambda d: d["members"][0]["layers"][0].update(kind="x")),
        "can't be read",
    ),
    "another width": (
        lambda home: edit(home, lambda d: d["preprocessing"]["columns"].pop()),
        "can't be read",
    ),
    "a weight short": (drop_a_weight, "can't be read"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_flow_on_disk_is_one_clear_line(name: str, tmp_path: Path) -> None:
    damage, message = BROKEN[name]
    make_flow([affine()]).save(tmp_path)
    damage(tmp_path)
    with pytest.raises(ValueError, match=message) as caught:
        Flow.load(tmp_path)
    assert "\n" not in str(caught.value)
    assert repr(str(tmp_path)) in str(caught.value)


def test_a_path_that_does_not_exist_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`path` .*nowhere' holds no trained flow"):
        Flow.load(tmp_path / "nowhere")


# ---------------------------------------------------------------------------- words and wrong input


def test_repr_says_the_structure_in_words() -> None:
    flow = make_flow([affine(2), affine(2), spline(2)])
    flow.info |= {"name": "toy", "scores": {"validation_nll": 1.23456, "test_nll_2se": 0.1}}
    text = repr(flow)
    assert text.startswith("Flow(ensemble of 3: lu, affine coupling (1x8) on 3 features | spline")
    assert "given hour, place; of toy; validation NLL 1.235)" in text
    assert "\n" not in text
    both = [FlowSpec(features=3), affine()]
    assert f"; {affine().parameter_count()} parameters" in repr(make_flow(both))


X = table(4)
NAMES = list(COLUMNS)
WRONG: dict[str, tuple[Callable[[Flow], Any], str]] = {
    "too narrow": (lambda f: f.log_prob(X[:, :2]), r"`x` must have 3 columns \(mass.*got 2"),
    "too wide": (lambda f: f.log_prob(np.hstack([X, X])), "`x` must have 3 columns.*got 6"),
    "one axis": (lambda f: f.log_prob(X[0]), r"`x` must have shape \(n, 3\), got \(3,\)"),
    "three axes": (lambda f: f.log_prob(X[None]), r"`x` must have shape \(n, 3\)"),
    "words": (lambda f: f.log_prob([["a", "b", "c"]]), "`x` must be rows of numbers"),
    "ragged": (lambda f: f.log_prob([[1, 2, 3], [1]]), "`x` must be rows of numbers"),
    "none": (lambda f: f.log_prob(None), "`x` must be|`x` must have"),
    "nan": (lambda f: f.log_prob(np.where(X[2, 1] == X, np.nan, X)), r"finite: row 2 .*1 of 4"),
    "missing column": (
        lambda f: f.log_prob(pd.DataFrame(X, columns=["mass", "width", "other"])),
        "lacks column 'share'",
    ),
    "not a number in a frame": (
        lambda f: f.log_prob(pd.DataFrame(X, columns=NAMES).assign(mass="a")),
        "'mass' is not numeric",
    ),
    "context not wanted": (lambda f: f.log_prob(X, X[:, :2]), "trained without context"),
    "context to sample": (lambda f: f.sample(2, context=[1.0]), "trained without context"),
    "negative n": (lambda f: f.sample(-1), "`n` must be a whole number of at least 0, got -1"),
    "half a row": (lambda f: f.sample(1.5), "`n` must be a whole number.*got 1.5"),
    "dtype": (lambda f: f.sample(1, dtype=np.int32), "`dtype` must be .* got int32"),
    "member": (lambda f: f.weights(7), "`member` must be from 0 to 0, got 7"),
    "specs": (lambda f: Flow([], [], f.preprocessing), "one a member: got 0 and 0"),
    "width of specs": (
        lambda f: Flow([FlowSpec(features=2)], [{}], f.preprocessing),
        "3 features and 0 context features.*got 2 and 0",
    ),
}
WRONG_CONTEXT: dict[str, tuple[Callable[[Flow], Any], str]] = {
    "no context": (lambda f: f.log_prob(X), r"2 columns \(hour, place\), got None"),
    "no context to sample": (lambda f: f.sample(3), "`context` must have 2 columns"),
    "context too narrow": (lambda f: f.log_prob(X, X[:, :1]), r"\(4, 2\).*got \(4, 1\)"),
    "context too short": (lambda f: f.log_prob(X, X[:3, :2]), r"\(4, 2\).*got \(3, 2\)"),
    "context column missing": (
        lambda f: f.log_prob(pd.DataFrame(X, columns=NAMES).assign(hour=1.0)),
        "lacks column 'place'",
    ),
}


@pytest.mark.parametrize("name", [*WRONG, *WRONG_CONTEXT])
def test_wrong_input_is_one_clear_line(name: str) -> None:
    call, message = (WRONG | WRONG_CONTEXT)[name]
    flow = make_flow([affine(2 if name in WRONG_CONTEXT else 0)])
    with pytest.raises(ValueError, match=message) as caught:
        call(flow)
    assert "\n" not in str(caught.value)
