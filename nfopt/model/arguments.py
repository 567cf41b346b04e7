"""Arguments that training and a trained flow share: a device, a seed, a precision."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import DTypeLike


def check_device(device: torch.device | str | None) -> str:
    """Choose or check a device: CUDA where there is one.

    Raises:
        ValueError: If torch does not know it, or it is not there.
        TypeError: If it is no device's name.
    """
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    given: object = device
    if not isinstance(given, str | torch.device):
        raise TypeError(f"`device` must be a name such as cpu or cuda, got {given!r}.")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen).cpu()  # a meta device computes nothing
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"`device` {str(device)!r} can't be used: {reason}") from None
    return str(chosen)


def check_seed(seed: object) -> None:
    """Raise ValueError unless the seed is a whole number of at least 0."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"`seed` must be a whole number of at least 0, got {seed!r}.")


def precision_of(dtype: DTypeLike | torch.dtype) -> torch.dtype:
    """Read a dtype of NumPy's, or torch's own.

    Raises:
        ValueError: If it is neither float32 nor float64.
    """
    name = str(dtype).removeprefix("torch.")
    if not isinstance(dtype, torch.dtype):
        try:
            name = np.dtype(dtype).name
        except TypeError:
            name = repr(dtype)
    found = {"float32": torch.float32, "float64": torch.float64}.get(name)
    if found is None:
        raise ValueError(f"`dtype` must be float32 or float64, got {name}.")
    return found
