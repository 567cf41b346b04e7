"""Programs of torch.export: the same density and samples, loaded where there is no nfopt."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from flows.kinds import order
from safetensors.torch import load_file, save_file

from nfopt.errors import ExportError
from nfopt.export import torch_export, write_torch_export
from nfopt.flows import base
from nfopt.model import Flow
from nfopt.spec import (
    LU,
    Autoregressive,
    Coupling,
    Elementwise,
    FlowSpec,
    Normal,
    Planar,
    Spline,
    StudentT,
)

from .toys import made, maps, rows_of, simple, table

LOAD = """
import sys
sys.modules["nfopt"] = None  # an import of nfopt fails from here on
import torch
from safetensors.torch import load_file, save_file
home, exchange = sys.argv[1:]
given = load_file(exchange)
context = [given["context"]] if "context" in given else []
choice = [given["choice"]] if "choice" in given else []
score = torch.export.load(f"{home}/log_prob.pt2").module()
draw = torch.export.load(f"{home}/sample.pt2").module()
found = {"log_prob": score(given["x"], *context), "drawn": draw(given["noise"], *context, *choice)}
for rows in (1, 7, 1000):
    few = {k: v[:rows] for k, v in given.items()}
    seen = [few["context"]] if context else []
    which = [few["choice"]] if choice else []
    found[f"log_prob {rows}"] = score(few["x"], *seen)
    found[f"drawn {rows}"] = draw(few["noise"], *seen, *which)
x = given["x"][2:50].clone().requires_grad_()
score(x, *[c[2:50] for c in context]).sum().backward()
save_file(found | {"gradient": x.grad}, exchange)
assert sys.modules["nfopt"] is None and not any(name.startswith("nfopt.") for name in sys.modules)
"""


def single(context: int = 0) -> tuple[Flow, np.ndarray]:
    """One flow with what zuko lacks, and an order long enough for a loop."""
    layers = (Elementwise(), Planar(), Autoregressive(order=order(4, 0)), LU())
    return made(FlowSpec(features=4, layers=layers, context_features=context))


def mixture(context: int = 2) -> tuple[Flow, np.ndarray]:
    """Members of two shapes and bases, each with marginal maps of its own."""
    first = simple(context=context)
    layers = (Coupling(mask="TCCT", map=Spline(bins=3)),)
    heavy = FlowSpec(features=4, layers=layers, context_features=context, base=StudentT(df=5.0))
    before = [maps(first, "asinh,quantile,standardise,quantile"), maps(heavy, "asinh")]
    weights = [made(spec)[0].weights() for spec in (first, heavy)]
    return Flow([first, heavy], weights, before, shares=[2, 1]), table(first)


def loaded(home: Path, given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What a process without nfopt makes of rows and noise."""
    exchange = home.with_suffix(".safetensors")
    save_file(given, exchange)
    done = subprocess.run(
        [sys.executable, "-I", "-c", LOAD, str(home), str(exchange)],
        capture_output=True,
        text=True,
        cwd=home.parent,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return load_file(exchange)


@pytest.mark.slow
@pytest.mark.parametrize(("flows", "context"), [("single", 0), ("mixture", 2)])
def test_what_is_written_loads_without_nfopt(flows: str, context: int, tmp_path: Path) -> None:
    flow, data = single(context) if flows == "single" else mixture(context)
    x, seen = rows_of(np.tile(data, (4, 1)), context)
    home = write_torch_export(flow, tmp_path / "out")
    about = json.loads((home / "programs.json").read_text())
    assert about["columns"] == list(flow.columns)
    rng = np.random.default_rng(0)
    width = about["sample"]["inputs"][0]["shape"][1]
    given = {"x": x, "noise": rng.standard_normal((len(x), width))}
    if seen is not None:
        given["context"] = seen
    if flows == "mixture":
        given["choice"] = rng.random(len(x))
    assert [one["name"] for one in about["sample"]["inputs"]] == list(given)[1:]
    found = loaded(home, {k: torch.from_numpy(v) for k, v in given.items()})

    wanted = flow.log_prob(x, seen, dtype="float64")
    np.testing.assert_allclose(found["log_prob"].numpy(), wanted, rtol=1e-5, atol=1e-5)
    assert wanted[1] == -np.inf  # outside the bounds
    if flows == "single":  # a draw of it is the noise's image, and goes back to it
        z, _ = flow.preprocessing.forward(found["drawn"].numpy())
        back, _ = flow.stacks[0].to(dtype=torch.float64).forward(torch.from_numpy(z))
        np.testing.assert_allclose(back[0].detach().numpy(), given["noise"], atol=1e-4)
    else:
        ours = flow.sample(len(x), seed=1, context=seen, round_ties=False)
        for share in (0.1, 0.5, 0.9):
            below = (ours <= np.quantile(found["drawn"].numpy(), share, axis=0)).mean(0)
            assert (np.abs(below - share) < 0.05).all()
    for rows in (1, 7, 1000):
        torch.testing.assert_close(found[f"log_prob {rows}"], found["log_prob"][:rows])
        torch.testing.assert_close(found[f"drawn {rows}"], found["drawn"][:rows])
    tensor = torch.from_numpy(x[2:50].copy()).requires_grad_()
    rest = None if seen is None else torch.from_numpy(seen[2:50].copy())
    flow.log_prob_torch(tensor, rest).sum().backward()
    torch.testing.assert_close(found["gradient"], tensor.grad, rtol=1e-6, atol=1e-8)

    for path in home.glob("*.pt2"):
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        assert not any(part.startswith(b"\x80") for name, part in parts.items() if ".pt" in name)
        for part in parts.values():  # nothing of ours, no paths of this machine
            assert not any(word in part for word in (b"nfopt", b"site-packages", b".py"))


@pytest.mark.parametrize(("wrong", "said"), [(0, "scores otherwise"), (1, "draws other rows")])
def test_nothing_is_left_of_what_scores_or_draws_otherwise(
    wrong: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules: list[torch.nn.Module] = []

    def run(module: torch.nn.Module, path: Path) -> Callable[..., torch.Tensor]:
        path.write_bytes(b"")
        modules.append(module)
        off = 1e-2 if len(modules) == wrong + 1 else 0.0
        return lambda *given: module(*given) + off

    monkeypatch.setattr(torch_export, "traced", lambda module, _: module)
    monkeypatch.setattr(torch_export, "_saved", run)
    with pytest.raises(ExportError, match=said):
        write_torch_export(made(simple())[0], tmp_path / "out")
    assert len(modules) == wrong + 1
    assert list(tmp_path.iterdir()) == []


def test_targets_members_and_an_old_torch_are_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("work was done")

    monkeypatch.setattr(torch_export, "traced", fail)
    flow, _ = made(simple())
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="`directory` must be a directory"):
        write_torch_export(flow, tmp_path / "file")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "one").write_text("")
    with pytest.raises(ValueError, match="is there already and not empty: remove it, or choose"):
        write_torch_export(flow, tmp_path / "full")
    with pytest.raises(ValueError, match="`member` must be from 0 to 0, got 1"):
        write_torch_export(flow, tmp_path / "out", member=1)
    monkeypatch.delattr(torch, "while_loop")
    with pytest.raises(ExportError, match=r"exports no loops: .* or export to zuko\.$"):
        write_torch_export(flow, tmp_path / "out")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "full"]


def test_normals_become_draws_of_the_base() -> None:
    noise = torch.randn(20_000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(base.of_normals(Normal(), noise, 1), noise[:, :1])
    drawn = base.of_normals(StudentT(df=3.0), noise, 1)
    generator = torch.Generator().manual_seed(1)
    other = base.sample(StudentT(df=3.0), (20_000, 1), generator, noise.device, noise.dtype)
    for share in (0.01, 0.1, 0.5, 0.9, 0.99):
        assert abs(float((other <= drawn.quantile(share)).double().mean()) - share) < 0.01
    assert base.of_normals(StudentT(df=3.0), torch.zeros(1, 2), 1).tolist() == [[0.0]]
