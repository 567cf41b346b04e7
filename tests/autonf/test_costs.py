"""Costs: counted ones, measured ones, and the file that they are kept in."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nfopt.autonf.costs import COSTS, MEASURED, CostTable, default_place
from nfopt.autonf.options import options_of
from nfopt.autonf.price import relative
from nfopt.errors import NfoptError

OPTIONS = options_of("types,identity", 6, width=64)


@pytest.mark.parametrize("cost", COSTS)
def test_every_cost_is_positive_and_doing_nothing_is_free(cost) -> None:
    found = CostTable().costs(cost, OPTIONS, 6, batch=64)
    assert found[4] == 0
    assert all(each > 0 for each in found[:4])
    units = relative(OPTIONS, found)
    assert min(units[:4]) == 1


def test_counted_costs_know_what_is_dear() -> None:
    affine_ar, spline_ar, affine_c, spline_c, _ = CostTable().costs(
        "inverse_multiply_adds", OPTIONS, 6
    )
    assert affine_c < spline_c < affine_ar < spline_ar  # an autoregressive sample takes D passes
    _, _, affine_c, spline_c, _ = CostTable().costs("parameters", OPTIONS, 6)
    assert affine_c < spline_c
    train = CostTable().costs("train_multiply_adds", OPTIONS, 6)
    assert train[0] < train[1]


def test_measured_costs_know_what_is_dear() -> None:
    found = CostTable().costs("inverse", options_of("types", 24, width=64), 24, batch=64)
    assert max(found[2], found[3]) < min(found[0], found[1])


def test_a_measurement_is_kept_and_read_again(tmp_path: Path) -> None:
    ticks = iter(range(10_000))

    def clock() -> float:
        return float(next(ticks))

    place = tmp_path / "nfopt" / "costs.json"
    first = CostTable(place, clock).costs("train", OPTIONS, 6, batch=16)
    assert set(first) == {1 / 16, 0.0}
    used = next(ticks)
    assert CostTable(place, clock).costs("train", OPTIONS[::-1], 6, batch=16) == first[::-1]
    assert next(ticks) == used + 1
    for other in ({"batch": 17}, {"context_features": 1}):
        assert len(CostTable(place, clock).costs("train", OPTIONS, 6, **other)) == 5
    CostTable(place, clock).costs("log_prob", OPTIONS, 6, batch=16)
    entries = CostTable(place).entries.values()
    assert {entry.direction for entry in entries} == {"train", "log_prob"}
    assert {entry.threads for entry in entries} == {torch.get_num_threads()}
    assert [path.name for path in place.parent.iterdir()] == ["costs.json"]


def test_two_tables_keep_both(tmp_path: Path) -> None:
    one, two = (CostTable(tmp_path / "costs.json") for _ in range(2))
    one.costs("log_prob", OPTIONS[:1], 6, batch=8)
    two.costs("log_prob", OPTIONS[1:2], 6, batch=8)
    assert len(CostTable(tmp_path / "costs.json").entries) == 2


@pytest.mark.parametrize("text", ["", "[]", '{"entries": [], "version": 99}'])
def test_a_file_that_is_no_table_is_said(tmp_path: Path, text: str) -> None:
    place = tmp_path / "costs.json"
    place.write_text(text)
    with pytest.raises(NfoptError, match=r"`costs` .*delete it to measure anew") as error:
        CostTable(place)
    assert "\n" not in str(error.value)


def test_an_unknown_cost_is_said() -> None:
    with pytest.raises(ValueError, match="`cost` must be one of"):
        CostTable().costs("money", OPTIONS, 6)
    assert set(MEASURED) < set(COSTS)


def test_the_users_folder_is_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert default_place() == Path("/elsewhere/nfopt/costs.json")
