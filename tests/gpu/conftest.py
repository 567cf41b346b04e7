"""CUDA: a layer is what it is on the CPU, a population trains, every search runs to its end.

    pytest -m gpu -n 0                            # on a machine with CUDA
    NFOPT_TEST_DEVICE=cpu pytest -m gpu -n 0      # the same without it: are the tests sound?

Where CUDA is wanted and there is none, they fail: a run that skips them all would look like a good
one.
"""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
import torch

from .device import CUDA


@pytest.fixture(autouse=True)
def _device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if CUDA and not torch.cuda.is_available():
        pytest.fail(
            "the tests marked gpu need CUDA, and torch sees none here: leave them out, or set"
            " NFOPT_TEST_DEVICE=cpu",
            pytrace=False,
        )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    monkeypatch.chdir(tmp_path)
