"""Make zuko flows, in memory or on disk, and see that they score alike.

`zuko_flow.py` builds the zuko modules. It stands alone, so that the same file serves here and,
copied beside the weights, whoever has zuko and no nfopt.
"""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from nfopt.data import Preprocessing
from nfopt.errors import ExportError
from nfopt.export.translate import Weights, stack_of, translate
from nfopt.files import replacing
from nfopt.model import Flow
from nfopt.spec import FlowSpec

NAME = "zuko_flow"
ROWS, TOLERANCE = 64, 1e-5  # how many rows must score alike, and how nearly


def to_zuko(
    spec: FlowSpec, weights: Weights, *, dtype: torch.dtype | None = None
) -> Any:  # a zuko.flows.Flow: zuko is optional and without types
    """Make an ordinary zuko flow with the same density, of preprocessed data.

    Args:
        spec: The structure.
        weights: As `Stack.weights` gives them.
        dtype: Precision of the zuko flow; None for that of the weights.

    Returns:
        A `zuko.flows.Flow`: `flow().log_prob(x)`, `flow(context).sample((n,))`.

    Raises:
        ExportError: If zuko has no such layer, or is not installed.
        ValueError: If the weights are not those of the spec.
    """
    own = next((weight.dtype for weight in weights.values()), torch.get_default_dtype())
    return _build(*translate(spec, weights, None), spec, weights, None, dtype or own)


def export_zuko(
    flow: Flow, *, member: int | None = None, dtype: torch.dtype = torch.float64
) -> Any:
    """Make an ordinary zuko flow with the same density, on the data's own scale.

    Args:
        flow: What nfopt trained.
        member: Which one of an ensemble.
        dtype: Precision. float32 loses the digits of a column with a large mean.

    Returns:
        A `zuko.flows.Flow`; its context, too, is on the data's own scale.

    Raises:
        ExportError: If zuko has no such layer, is not installed, or an ensemble has no `member`.
    """
    chosen = _member(flow, member)
    spec, weights, before = flow.specs[chosen], flow.weights(chosen), flow.preprocessings[chosen]
    return _build(*translate(spec, weights, before), spec, weights, before, dtype)


def write_zuko(flow: Flow, directory: str | os.PathLike[str], *, member: int | None = None) -> Path:
    """Write a zuko flow that loads without nfopt: zuko_flow.py, .json and .safetensors.

    `from zuko_flow import load` in that directory, and `load()` is the flow. Nothing is pickled.

    Returns:
        The path of zuko_flow.py.

    Raises:
        ExportError: As `export_zuko`.
        ValueError: If the directory is a file.
    """
    chosen = _member(flow, member)
    spec, weights, before = flow.specs[chosen], flow.weights(chosen), flow.preprocessings[chosen]
    description, state = translate(spec, weights, before)
    _build(description, state, spec, weights, before, torch.float64)  # seen to agree
    home = Path(directory)
    if home.exists() and not home.is_dir():
        raise ValueError(f"`directory` must be a directory, {str(home)!r} is a file.")
    script = home / f"{NAME}.py"
    with (
        replacing(home / f"{NAME}.safetensors") as tensors,
        replacing(home / f"{NAME}.json") as table,
        replacing(script) as program,
    ):
        text = files("nfopt.export").joinpath(f"{NAME}.py").read_text(encoding="utf-8")
        program.write_text(text, encoding="utf-8")
        table.write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
        save_file(state, tensors)
    return script


def _member(flow: Flow, member: int | None) -> int:
    if member is None and len(flow) > 1:
        raise ExportError(
            f"`flow` is an ensemble of {len(flow)}, which zuko has no flow for:"
            f" choose a `member` from 0 to {len(flow) - 1}."
        )
    chosen = member or 0
    if not 0 <= chosen < len(flow):
        raise ValueError(f"`member` must be from 0 to {len(flow) - 1}, got {chosen}.")
    return chosen


def _build(
    description: dict[str, Any],
    state: dict[str, Tensor],
    spec: FlowSpec,
    weights: Weights,
    before: Preprocessing | None,
    dtype: torch.dtype,
) -> Any:
    """Build with zuko, and see that the density is the same."""
    try:
        import zuko
    except ImportError:
        raise ExportError("zuko is not installed: pip install nfopt[zuko]") from None
    try:
        from nfopt.export import zuko_flow
    except ImportError as error:
        found = f"zuko {version('zuko')} lacks what the export needs ({error.name})"
        raise ExportError(f"{found}: pip install -U nfopt[zuko]") from None
    exact: zuko.flows.Flow = zuko_flow.build(description, state, torch.float64)
    rng = np.random.default_rng(0)
    z = rng.standard_normal((ROWS, spec.features))
    given = rng.standard_normal((ROWS, spec.context_features))
    x, seen, logdet = z, given, np.zeros(ROWS)
    if before is not None:
        x = before.inverse(z)
        z, logdet = before.forward(x)
        maps = zip(before.context, given.T, strict=True)
        seen = np.array([column.map.inverse(values) for column, values in maps]).T
    stack = stack_of(spec, weights)
    context = torch.from_numpy(given) if spec.context_features else None
    with torch.no_grad():
        wanted = stack.log_prob(torch.from_numpy(z), context)[0] + torch.from_numpy(logdet)
        found_flow = exact(None if context is None else torch.from_numpy(seen))
        difference = (found_flow.log_prob(torch.from_numpy(x)) - wanted).abs()
    if not (difference <= TOLERANCE * wanted.abs().clamp_min(1)).all():
        raise ExportError(
            f"the flow as zuko {version('zuko')} has it scores otherwise, by up to"
            f" {float(difference.max()):.2g} nats: please report this."
        )
    return exact.to(dtype)
