"""Programs and ONNX of kinds of layers; both are compared with the flow before they are in place.

All of `tests/flows/kinds.py` were tried (134 exports); these are those that hold the others' parts.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from flows.kinds import spec_of

from nfopt.data import Preprocessing
from nfopt.export import write_onnx, write_torch_export
from nfopt.flows import build
from nfopt.model import Flow

WRITERS = {"torch-export": write_torch_export, "onnx": write_onnx}
KINDS = [
    ("mixed, student t", 3, 2),
    ("autoregressive parents residual", 5, 0),
    ("autoregressive independent", 5, 0),
]


def two(kind: str, features: int, context: int) -> Flow:
    """A mixture of two members of a kind that differ in what they are and in their weights."""
    rng = np.random.default_rng(0)
    maps = Preprocessing.fit(
        rng.standard_normal((300, features)),
        [f"column {k}" for k in range(features)],
        None,
        marginals="asinh",
        context=rng.standard_normal((300, context)) if context else None,
        context_columns=[f"given {k}" for k in range(context)],
    )
    specs = [spec_of(kind, features, context, member) for member in (0, 1)]
    weights = []
    for number, spec in enumerate(specs):
        generator = torch.Generator().manual_seed(number)
        (stack,) = build([spec], generator)
        with torch.no_grad():
            stack.theta += 0.3 * torch.randn(stack.theta.shape, generator=generator)
        weights.append(stack.weights(0))
    return Flow(specs, weights, [maps, maps])


@pytest.mark.slow
@pytest.mark.parametrize("to", WRITERS)
@pytest.mark.parametrize(("kind", "features", "context"), KINDS)
def test_a_kind_is_handed_on(
    kind: str, features: int, context: int, to: str, tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        home = WRITERS[to](two(kind, features, context), tmp_path / "out")
    assert (home / "programs.json").is_file()
