"""Write a flow's log-density as ONNX, and see that onnxruntime computes the same.

In float64, as the columns' maps need; what onnxruntime has in float32 alone is written out.
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from nfopt.errors import ExportError
from nfopt.export.check import Array, agree, chosen
from nfopt.export.doubles import DOUBLES
from nfopt.export.programs import ROWS, Input, examples, log_prob_of, traced
from nfopt.export.torch_export import ABOUT, describe, signature
from nfopt.files import check_free, making
from nfopt.model import Flow

NEEDED = ("onnx", "onnxscript", "onnxruntime")
NAME = "log_prob.onnx"
NOISY = "torch.onnx._internal.exporter._registration"  # warns of a torchvision that is not there


def write_onnx(flow: Flow, directory: str | os.PathLike[str], *, member: int | None = None) -> Path:
    """Write log_prob.onnx, and programs.json, which says what it takes and gives.

    Its inputs are `x` and, where the flow is conditional, `context`, any number of rows in float64
    on the data's own scale; its output is `log_prob`, nats. Nothing but basic operators is used.

    Args:
        flow: What nfopt trained.
        directory: New, or empty.
        member: Which one of a mixture; None: all.

    Returns:
        The directory.

    Raises:
        ExportError: If a package is missing, or onnxruntime lacks an operator, or gives other
            numbers than the flow.
        ValueError: If the directory is a file, or not empty, or there is no such member.
    """
    home = Path(directory)
    check_free(home, "directory")
    for package in NEEDED:
        if find_spec(package) is None:
            raise ExportError(f"{package} is not installed: pip install nfopt[onnx]")
    part = chosen(flow, member)
    with making(home) as folder:
        scored, takes = log_prob_of(part)
        _write(traced(scored, takes, DOUBLES), takes, folder / NAME)
        session = _session(folder / NAME)

        def score(x: Array, context: Array | None) -> Array:
            given = {"x": x} if context is None else {"x": x, "context": context}
            found: Array = session.run(None, given)[0]
            return found

        agree(score, part, "ONNX")
        about = describe(part) | {"log_prob": signature(NAME, takes, "nats", ["rows"])}
        (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return home


def _write(program: ExportedProgram, inputs: Sequence[Input], path: Path) -> None:
    names = [one.name for one in inputs]
    try:
        with _quiet():
            made = torch.onnx.export(
                program,
                examples(inputs, ROWS),
                input_names=names,
                output_names=["log_prob"],
                dynamo=True,
                custom_translation_table={torch.ops.aten.scalar_tensor.default: _exact},
                external_data=False,
                verbose=False,
            )
    except (ImportError, RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        why = str(error).strip().split("\n")[0]
        raise ExportError(f"ONNX can't have this flow: {why:.200}; use torch-export.") from None
    assert made is not None
    for node in made.model.graph:
        node.metadata_props.clear()  # holds lines of this machine's files
    made.save(path, external_data=False)


def _exact(
    s: float, dtype: int = 1, layout: str = "", device: str = "", pin_memory: bool = False
) -> Any:
    """Write a constant as it is: torch's own translation rounds it to float32 first."""
    from onnxscript import ir, opset20

    value: Any = ir.tensor(s, dtype=ir.DataType(dtype))
    return opset20.Constant(value=value)


def _session(path: Path) -> Any:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    try:
        return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except (errors.Fail, errors.InvalidGraph, errors.NotImplemented) as error:
        why = str(error).strip().split("\n")[0]
        raise ExportError(
            f"onnxruntime {onnxruntime.__version__} can't run this flow: {why:.200}; use"
            " torch-export."
        ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what torch says while it converts."""
    noisy = logging.getLogger(NOISY)
    before = noisy.level
    noisy.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        noisy.setLevel(before)
