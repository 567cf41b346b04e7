"""A weights file, judged by its header: nothing is read that its description does not account for.

safetensors begins with eight bytes, the length of its header, and the header: JSON with the shape
and dtype of each tensor.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from nfopt.spec import FlowSpec

MOST_DESCRIBED = 16 << 20  # bytes of a description; 1,024 columns with quantile maps take 3 MB
_MOST_HEADER = 2 * MOST_DESCRIBED
_PREFIX = 8
DTYPE = "F32"
_NAMES = {torch.float32: DTYPE, torch.float64: "F64", torch.float16: "F16"}


def open_weights(path: Path) -> Any:
    """Open a weights file whose header is short enough to be read in a moment.

    Raises:
        ValueError: If it is not, or the file has a size that no memory maps.
        SafetensorError: If it is no weights file.
        OSError: If it can't be read.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_PREFIX), "little")
    if length > min(_MOST_HEADER, path.stat().st_size):
        raise ValueError(f"{path.name} has no header that can be read ({length:,} bytes)")
    try:
        return safe_open(path, framework="pt")
    except RuntimeError as error:  # torch's own
        raise ValueError(f"{path.name}: {str(error).splitlines()[0]}") from None


def described_in(path: Path, key: str) -> str | None:
    """Read a text that the header carries; None without it.

    Raises:
        ValueError: If the header is too long.
        SafetensorError: If it is no weights file.
        OSError: If it can't be read.
    """
    with open_weights(path) as file:
        text: str | None = (file.metadata() or {}).get(key)
    return text


def read_weights(path: Path, specs: Sequence[FlowSpec]) -> list[dict[str, Tensor]]:
    """Read the weights of each member, named `MEMBER.LAYER.WEIGHT` in the file.

    Args:
        path: Of the file.
        specs: Of the members: they say how many numbers each layer has.

    Raises:
        ValueError: If a layer has more or fewer numbers, another dtype, or one that is not finite.
        SafetensorError: If it is no weights file.
        OSError: If it can't be read.
    """
    with open_weights(path) as file:
        names = file.keys()
        headed = {name: file.get_slice(name) for name in names}
        _check({name: (one.get_dtype(), one.get_shape()) for name, one in headed.items()}, specs)
        return _by_member(((name, file.get_tensor(name)) for name in names), specs)


def weights_of(tensors: Mapping[str, Tensor], specs: Sequence[FlowSpec]) -> list[dict[str, Tensor]]:
    """Divide weights that are read already among the members, checked as in `read_weights`.

    Raises:
        ValueError: As `read_weights`.
    """
    _check({name: (_NAMES.get(one.dtype, "?"), one.shape) for name, one in tensors.items()}, specs)
    return _by_member(tensors.items(), specs)


def _by_member(
    tensors: Iterable[tuple[str, Tensor]], specs: Sequence[FlowSpec]
) -> list[dict[str, Tensor]]:
    weights: list[dict[str, Tensor]] = [{} for _ in specs]
    for name, tensor in tensors:
        if not torch.isfinite(tensor).all():
            raise ValueError(f"the weights {name!r} are not all finite")
        member, _, weight = name.partition(".")
        weights[int(member)][weight] = tensor
    return weights


def _check(headed: Mapping[str, tuple[str, Sequence[int]]], specs: Sequence[FlowSpec]) -> None:
    """Compare the numbers a layer with those that the specs say, before any is read."""
    known = {
        f"{member}.{number}": (spec, layer)
        for member, spec in enumerate(specs)
        for number, layer in enumerate(spec.layers)
    }
    held: dict[str, int] = defaultdict(int)
    for name, (dtype, shape) in headed.items():
        place, _, _ = name.rpartition(".")
        if place not in known:
            raise ValueError(f"the weights {name!r:.60} belong to no layer")
        if dtype != DTYPE:
            raise ValueError(f"the weights {name!r} are {dtype}, not {DTYPE}")
        held[place] += math.prod(shape)
    for place, (spec, layer) in known.items():
        wanted = layer.stored_numbers(spec.features, spec.context_features)
        if held[place] != wanted:
            raise ValueError(
                f"the weights of layer {place} ({layer.kind}) are {held[place]:,} numbers, not"
                f" {wanted:,}"
            )
