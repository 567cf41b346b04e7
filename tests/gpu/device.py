"""Where the tests run, and how far two tensors are apart."""

from __future__ import annotations

import math
import os

import torch
from torch import Tensor

DEVICE = os.environ.get("NFOPT_TEST_DEVICE", "cuda")
KIND = torch.device(DEVICE).type
CUDA = KIND == "cuda"


def gap(found: Tensor, wanted: Tensor) -> float:
    """The largest difference, relative where a number is large; inf where one is not finite."""
    found, wanted = found.detach().cpu().double(), wanted.detach().cpu().double()
    assert found.shape == wanted.shape
    off = (found - wanted).abs() / wanted.abs().clamp_min(1)
    return float(off.nan_to_num(math.inf).max()) if off.numel() else 0.0


def distance(found: Tensor, wanted: Tensor) -> float:
    """The length of the difference, in that of what is wanted; inf where one is not finite."""
    found, wanted = found.detach().cpu().double(), wanted.detach().cpu().double()
    assert found.shape == wanted.shape
    off = (found - wanted).norm() / wanted.norm().clamp_min(1e-12)
    return float(off.nan_to_num(math.inf))
