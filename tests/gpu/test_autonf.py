"""The differentiable search, its costs and its race."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from autonf import toys as searched
from autonf.test_checkpoint import OPTIONS, PLAN, TRAIN, Counter
from autonf.test_checkpoint import Killed as KilledSearch
from training.toys import seeded

from nfopt.autonf import Choice, CostTable, choose, options_of
from nfopt.autonf.costs import MEASURED
from nfopt.autonf.objective import enumerate_paths
from nfopt.autonf.supernet import Supernet

from .device import CUDA, DEVICE, gap

pytestmark = pytest.mark.gpu


def test_all_paths_of_a_supernet_are_what_they_are_on_the_cpu() -> None:
    options = options_of("types,planar,identity", 2, width=8, hidden_layers=1, bins=4)
    x = searched.rows(50)
    paths = enumerate_paths([range(len(options))] * 2)
    found = []
    for device in ("cpu", DEVICE):
        net = Supernet(options, 2, 2, seeded(1), device=device, dtype=torch.float64)
        moved = x.to(device, torch.float64)
        log_p = net.log_prob(paths, moved)
        log_p.mean().backward()  # type: ignore[no-untyped-call]
        assert log_p.device.type == torch.device(device).type
        found.append([log_p, *(theta.grad for theta in net.parameters())])
    for here, there in zip(*found, strict=True):
        assert here is not None
        assert there is not None
        assert gap(there, here) < 1e-8


@pytest.mark.parametrize("cost", MEASURED)
def test_costs_are_measured_and_kept(cost: Any, tmp_path: Path) -> None:
    options = options_of("types,identity", 6, width=64)
    place = tmp_path / "costs.json"
    found = CostTable(place).costs(cost, options, 6, batch=64, device=DEVICE)
    assert all(0 < each < 1 for each in found[:4])
    assert found[4] == 0
    entries = CostTable(place).entries.values()
    wanted = torch.cuda.get_device_name() if CUDA else "cpu"
    assert all(wanted in entry.device for entry in entries)
    assert CostTable(place).costs(cost, options, 6, batch=64, device=DEVICE) == found


SEARCHES: dict[str, dict[str, Any]] = {
    "exact": {"steps": 20},
    "sampled": {"steps": 20, "block": 1, "passes": 2, "estimator": "sampled"},
    "mixture": {"steps": 20, "block": 1, "objective": "mixture"},
    "auto": {"steps": 20, "estimator": "auto"},
}


def chosen(name: str, **more: Any) -> Choice:
    data = searched.make_data().to(DEVICE)
    settings = searched.settings(**SEARCHES[name])
    return choose(OPTIONS, data, TRAIN, settings, plan=PLAN, costs=(1, 2, 0), seed=1, **more)


@pytest.mark.parametrize("name", SEARCHES)
def test_a_differentiable_search_ends_and_a_killed_one_goes_on(name: str, tmp_path: Path) -> None:
    whole = chosen(name)
    assert math.isfinite(whole.best.nll)
    path = tmp_path / "choice.safetensors"
    for last in (1, 2):
        with pytest.raises(KilledSearch):
            chosen(name, checkpoint=path, on_checkpoint=Counter(last))
    again = chosen(name, checkpoint=path)
    assert math.isfinite(again.best.nll)
    assert abs(again.best.nll - whole.best.nll) < 0.5
    if name != "auto" and (again.paths, again.best.nll) != (whole.paths, whole.best.nll):
        warnings.warn(f"{name}: gone on with, but not bit for bit", stacklevel=1)


def test_a_race_with_a_time_limit() -> None:
    found = chosen("exact", seconds=2.0)
    assert math.isfinite(found.best.nll)
    assert found.seconds < 6.0
