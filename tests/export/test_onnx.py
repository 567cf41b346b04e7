"""ONNX: onnxruntime computes the same log-density, on the data's own scale."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from flows.kinds import SPLINE, order
from torch import Tensor

from nfopt.errors import ExportError
from nfopt.export import doubles, onnx, write_onnx
from nfopt.model import Flow
from nfopt.spec import (
    LU,
    Affine,
    Autoregressive,
    Conditioner,
    Coupling,
    Elementwise,
    FlowSpec,
    Layer,
    Planar,
    Radial,
    SinhArcsinh,
    StudentT,
)

from .toys import made, maps, rows_of, simple, table

LOAD = """
import sys
sys.modules["nfopt"] = sys.modules["torch"] = None  # an import of them fails from here on
import numpy as np
import onnxruntime
home, rows, out = sys.argv[1:]
session = onnxruntime.InferenceSession(f"{home}/log_prob.onnx")
given = dict(np.load(rows))
found = {str(n): session.run(["log_prob"], {k: v[:n] for k, v in given.items()})[0]
         for n in (1, 7, 1000)}
np.savez(out, **found)
"""


def every_layer(context: int) -> FlowSpec:
    """All that there is but the base, with the activations that onnxruntime lacks in float64."""

    def net(activation: str) -> Conditioner:
        return Conditioner(width=8, activation=activation)  # type: ignore[arg-type]

    layers: tuple[Layer, ...] = (
        LU(),
        Planar(),
        Radial(),
        Elementwise(map=SinhArcsinh()),
        Coupling(mask="CTIC", map=SPLINE, conditioner=net("gelu")),
        Coupling(mask="TCCT", map=SinhArcsinh(), conditioner=net("elu")),
        Autoregressive(order=order(4, 1), map=Affine(), conditioner=net("silu")),
    )
    return FlowSpec(features=4, layers=layers, context_features=context)


def mixture(context: int) -> tuple[Flow, np.ndarray]:
    """All layers in one member, heavy tails in the other; each behind maps of its own."""
    first = every_layer(context)
    layers = (Coupling(mask="TCCT", conditioner=Conditioner(width=8, activation="tanh")),)
    heavy = FlowSpec(features=4, layers=layers, context_features=context, base=StudentT(df=5.0))
    before = [maps(first, "asinh,quantile,standardise,quantile"), maps(heavy, "asinh")]
    weights = [made(spec)[0].weights() for spec in (first, heavy)]
    return Flow([first, heavy], weights, before, shares=[2, 1]), table(first)


@pytest.mark.slow
@pytest.mark.parametrize("context", [0, 2])
def test_what_is_written_runs_without_torch(context: int, tmp_path: Path) -> None:
    flow, data = mixture(2) if context else made(simple())
    x, seen = rows_of(np.tile(data, (4, 1)), context)
    home = write_onnx(flow, tmp_path / "out")
    assert sorted(path.name for path in home.iterdir()) == ["log_prob.onnx", "programs.json"]
    about = json.loads((home / "programs.json").read_text())
    given = {"x": x} if seen is None else {"x": x, "context": seen}
    assert [one["name"] for one in about["log_prob"]["inputs"]] == list(given)
    np.savez(tmp_path / "rows.npz", **given)
    done = subprocess.run(
        [sys.executable, "-I", "-c", LOAD, home, tmp_path / "rows.npz", tmp_path / "found.npz"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    wanted = flow.log_prob(x, seen, dtype="float64")
    assert wanted[1] == -np.inf  # outside the bounds
    with np.load(tmp_path / "found.npz") as found:
        for rows in (1, 7, 1000):
            assert found[str(rows)].dtype == np.float64
            np.testing.assert_allclose(found[str(rows)], wanted[:rows], rtol=1e-5, atol=1e-5)
    content = (home / "log_prob.onnx").read_bytes()
    assert not any(word in content for word in (b"nfopt", b"site-packages", b".py"))


@pytest.mark.slow
def test_constants_keep_their_digits(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    flow, data = made(FlowSpec(features=4, layers=()))
    home = write_onnx(flow, tmp_path / "out")
    (found,) = runtime.InferenceSession(home / "log_prob.onnx").run(None, {"x": data[:9]})
    wanted = flow.log_prob(data[:9], dtype="float64")
    np.testing.assert_allclose(found, wanted, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    ("ours", "torchs"),
    [
        (doubles.asinh, torch.asinh),
        (doubles.sinh, torch.sinh),
        (doubles.softplus, F.softplus),
        (doubles.elu, F.elu),
        (doubles.gelu, F.gelu),
        (doubles.erf, torch.erf),
    ],
)
def test_what_is_written_out_is_exact(
    ours: Callable[[Tensor], Tensor], torchs: Callable[[Tensor], Tensor]
) -> None:
    x = torch.cat((torch.linspace(-9, 9, 10_001), torch.tensor([-30.0, 1e-9, 30.0]))).double()
    torch.testing.assert_close(ours(x), torchs(x), rtol=1e-14, atol=3e-15)


def test_targets_members_and_missing_packages_are_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("work was done")

    monkeypatch.setattr(onnx, "traced", fail)
    monkeypatch.setattr(onnx, "find_spec", lambda _: True)
    flow, _ = made(simple())
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="`directory` must be a directory"):
        write_onnx(flow, tmp_path / "file")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "one").write_text("")
    with pytest.raises(ValueError, match="is there already and not empty: remove it, or choose"):
        write_onnx(flow, tmp_path / "full")
    with pytest.raises(ValueError, match="`member` must be from 0 to 0, got 1"):
        write_onnx(flow, tmp_path / "out", member=1)
    for name in onnx.NEEDED:
        monkeypatch.setattr(onnx, "find_spec", lambda one, name=name: None if one == name else 1)
        with pytest.raises(
            ExportError, match=rf"^{name} is not installed: pip install nfopt\[onnx"
        ):
            write_onnx(flow, tmp_path / "out")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "full"]


def test_nothing_is_left_of_what_scores_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Session:
        def run(self, _: None, given: dict[str, np.ndarray]) -> list[Any]:
            return [np.zeros(len(given["x"]))]

    monkeypatch.setattr(onnx, "find_spec", lambda _: True)
    monkeypatch.setattr(onnx, "traced", lambda *_: None)
    monkeypatch.setattr(onnx, "_write", lambda program, inputs, path: path.write_bytes(b""))
    monkeypatch.setattr(onnx, "_session", lambda _: Session())
    with pytest.raises(ExportError, match="scores otherwise"):
        write_onnx(made(simple())[0], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_operator_that_onnxruntime_lacks_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx, "DOUBLES", {})
    spec = FlowSpec(features=4, layers=(Elementwise(map=SinhArcsinh()),))
    with pytest.raises(ExportError, match=r"^onnxruntime .* can't run this flow: .*; use torch-"):
        write_onnx(made(spec)[0], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
