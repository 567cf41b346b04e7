"""The fit in base space: flat where a flow is right, and not where it is wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from nfopt.data import LinePart, Prepared, load, prepare, split
from nfopt.flows import build
from nfopt.model import Flow
from nfopt.report.page import pit
from nfopt.report.page.base_space import base_space, coordinate_names
from nfopt.report.page.facts import Facts
from nfopt.spec import LU, Coupling, FlowSpec, StudentT
from report.toys import NET


def table(values: NDArray[np.float64]) -> Prepared:
    data = load({f"x{k}": column for k, column in enumerate(values.T)})
    return prepare(data, split(data, seed=0), 0)


def gaussian(rows: int = 6000) -> Prepared:
    return table(np.random.default_rng(0).normal(size=(rows, 3)))


def flow_of(data: Prepared, *specs: FlowSpec, shares: tuple[float, ...] | None = None) -> Flow:
    stacks = build(specs, torch.Generator().manual_seed(0))
    weights = {at: s.weights(k) for s in stacks for k, at in enumerate(s.positions)}
    ordered = [weights[at] for at in range(len(specs))]
    return Flow(specs, ordered, data.preprocessing, shares=shares)


def off(values: NDArray[np.float64], rows: int) -> float:
    """How far the farthest bin is outside of the band; negative inside."""
    return float(np.abs(pit.histogram(values, None, 20) - 1).max() - pit.band(rows, 20))


def test_a_right_flow_is_flat() -> None:
    data = gaussian(40_000)  # of which 4,000 test rows
    part = data.lines.parts[2]
    found = pit.uniforms(flow_of(data, FlowSpec(features=3)), part)
    assert found.coordinates.shape == (len(part), 3)
    # each of four may leave its band once in 20 times, but not by much
    assert off(found.radius, len(part)) < 0.05
    assert all(off(column, len(part)) < 0.05 for column in found.coordinates.T)
    nowhere = LinePart(part.line[:5], np.array([0.0, -np.inf, 0.0, 0.0, 0.0]))
    assert pit.uniforms(flow_of(data, FlowSpec(features=3)), nowhere).lost == 1


def test_a_wrong_flow_is_not() -> None:
    values = np.random.default_rng(0).normal(size=(6000, 3))
    values[:, 1] = values[:, 1] ** 3
    data = table(values)
    found = pit.uniforms(flow_of(data, FlowSpec(features=3)), data.lines.parts[2])
    outside = [off(column, len(found.radius)) > 0.1 for column in found.coordinates.T]
    assert outside == [False, True, False]
    assert off(found.radius, len(found.radius)) > 0.1


def test_a_mixtures_own_samples_are_flat() -> None:
    """Each row is mapped by a member that may have made it; one drawn by its share is not flat."""
    data, net = gaussian(400), {"conditioner": NET}
    layers = [(LU(), Coupling(mask=mask, **net)) for mask in ("CTT", "TTC")]
    flow = flow_of(data, *(FlowSpec(features=3, layers=x) for x in layers), shares=(0.8, 0.2))
    with torch.no_grad():
        flow.stacks[0].theta.mul_(torch.tensor([[1.0], [3.0]])).add_(0.3)
    line, logdet = flow.preprocessing.to_line(flow.sample(8 * pit.ROWS, seed=1))
    parts = np.split(np.arange(len(line)), 8)
    found = [pit.uniforms(flow, LinePart(line[part], logdet[part]), seed=2) for part in parts]
    every = np.concatenate([np.column_stack([one.radius, one.coordinates]) for one in found])
    assert all(off(column, len(every)) < 0.02 for column in every.T)


def test_the_distribution_function_of_student_t() -> None:
    z = torch.tensor([-2.015048, 0.0, 2.015048, 3.364930, 1e9], dtype=torch.float64)
    found = pit.distribution(StudentT(df=5.0), z).numpy()
    np.testing.assert_allclose(found, [0.05, 0.5, 0.95, 0.99, 1.0], atol=1e-5)


def test_the_band_holds_whole_histograms_of_uniform_rows() -> None:
    rng, half = np.random.default_rng(1), pit.band(500, 20)
    found = [pit.histogram(rng.random(500), None, 20) for _ in range(400)]
    inside = np.mean([np.abs(one - 1).max() <= half for one in found])
    assert 0.92 < inside < 0.98
    assert pit.band(50, 10) > pit.band(5000, 10)


def test_weights_count() -> None:
    weights = np.array([1.0, 1.0, 2.0])
    found = pit.histogram(np.array([0.1, 0.2, 0.9]), weights, 2)
    np.testing.assert_allclose(found, [1.0, 1.0])
    assert pit.effective(weights, 3) == pytest.approx(16 / 6)
    assert pit.effective(None, 3) == 3


def test_the_section_names_columns_only_where_they_stay_in_place() -> None:
    data = gaussian(600)

    def facts(*layers: object) -> Facts:
        flow = flow_of(data, FlowSpec(features=3, layers=layers))  # type: ignore[arg-type]
        return Facts("x", data.columns, flow=flow, data=data)

    assert list(coordinate_names(facts(Coupling(mask="CTT", conditioner=NET)))) == [
        "x0",
        "x1",
        "x2",
    ]
    assert coordinate_names(facts(LU()))[0] == "coordinate 1"
    said = base_space(facts())
    assert "60 test rows" in said
    assert said.count("<svg") == 4
    assert "too few rows" in base_space(
        Facts("x", data.columns, flow=facts().flow, data=gaussian(80))
    )
