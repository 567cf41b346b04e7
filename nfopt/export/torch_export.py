"""Write a flow as torch.export programs, which torch alone loads and runs."""

from __future__ import annotations

import json
import os
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram

from nfopt.errors import ExportError
from nfopt.export.check import ROWS, Array, agree, alike_rows, check_rows, chosen
from nfopt.export.programs import Input, log_prob_of, sample_of, traced
from nfopt.files import check_free, making
from nfopt.model import Flow
from nfopt.model.disk import versions

ABOUT = "programs.json"
TARGET = "a program of torch.export"


def write_torch_export(
    flow: Flow, directory: str | os.PathLike[str], *, member: int | None = None
) -> Path:
    """Write log_prob.pt2 and sample.pt2, and programs.json, which says what they take and give.

    `torch.export.load("log_prob.pt2").module()(x)` gives nats, x in float64 on the data's own
    scale, and `torch.export.load("sample.pt2").module()(noise)` rows from standard normals; context
    is the next argument, and of a mixture the last argument of `sample` is a uniform number a row,
    which picks the member. Drawn values of tied columns are not put back on their grid. Nothing is
    pickled.

    Args:
        flow: What nfopt trained.
        directory: New, or empty.
        member: Which one of a mixture; None: all.

    Returns:
        The directory.

    Raises:
        ExportError: If torch is too old, or the programs give other numbers than the flow.
        ValueError: If the directory is a file, or not empty, or there is no such member.
    """
    home = Path(directory)
    check_free(home, "directory")
    if not hasattr(torch, "while_loop") or not hasattr(torch.compiler, "is_exporting"):
        raise ExportError(
            f"torch {torch.__version__} exports no loops: pip install -U torch, or export to zuko."
        )
    part = chosen(flow, member)
    with making(home) as folder:
        scored, takes = log_prob_of(part)
        score = _saved(traced(scored, takes), folder / "log_prob.pt2")
        agree(lambda x, given: _run(score, x, given), part, TARGET)
        drawn, wanted = sample_of(part)
        draw = _saved(traced(drawn, wanted), folder / "sample.pt2")
        noise = _noise(part, wanted)
        alike_rows(_run(draw, *noise), _run(drawn, *noise), TARGET)
        about = describe(part) | {
            "log_prob": signature("log_prob.pt2", takes, "nats", ["rows"]),
            "sample": signature("sample.pt2", wanted, "rows", ["rows", len(part.columns)]),
        }
        (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return home


def describe(flow: Flow) -> dict[str, Any]:
    """Say what the columns are, and what the programs were made with."""
    return {
        "version": 1,
        "versions": versions(),
        "columns": list(flow.columns),
        "context_columns": list(flow.context_columns),
    }


def signature(file: str, inputs: Sequence[Input], gives: str, shape: list[Any]) -> dict[str, Any]:
    """Say what a program takes and gives."""
    taken = [
        {"name": one.name, "shape": ["rows", *one.shape], "dtype": "float64", "holds": one.holds}
        for one in inputs
    ]
    output = {"shape": shape, "dtype": "float64", "holds": gives}
    return {"file": file, "inputs": taken, "output": output}


def _saved(program: ExportedProgram, path: Path) -> Any:
    """Write a program, see that nothing in the file is pickled, and give what is read back."""
    program.example_inputs = None  # would be pickled
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of constants that share memory; what is read is compared
        torch.export.save(program, path)
    with zipfile.ZipFile(path) as archive:
        for one in archive.infolist():
            if archive.read(one)[:1] == b"\x80" and one.filename.endswith(".pt"):
                raise ExportError(
                    f"torch {torch.__version__} pickles a part of an exported program:"
                    " pip install -U torch, or export to zuko."
                )
    return torch.export.load(path).module()


def _run(program: Any, *given: Array | None) -> Array:
    with torch.no_grad():
        found: Array = program(*(torch.from_numpy(one) for one in given if one is not None)).numpy()
    return found


def _noise(flow: Flow, inputs: Sequence[Input]) -> list[Array | None]:
    """Draw what the rows are made from."""
    rng = np.random.default_rng(1)
    _, context = check_rows(flow, torch.float64)
    noise = {"noise": rng.standard_normal((ROWS, *inputs[0].shape)), "choice": rng.random(ROWS)}
    return [context if one.name == "context" else noise[one.name] for one in inputs]
