"""Rows of bits as parameters: packed into integers of at most 32 bits, or one parameter a bit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nfopt.masks import pack_bits, unpack_bits, word_bits
from nfopt.space.domains import Domain, Integer, Value

Bits = NDArray[np.bool_]


def gene_domains(name: str, bits: int, encoding: str) -> dict[str, Domain]:
    """Name the parameters of a row of bits, and what each may be.

    Packed `layer_1.mask`, or `layer_1.mask_1` and `layer_1.mask_2` where there are more than 32
    bits; one parameter a bit `layer_1.mask.1`, `layer_1.mask.2` and so on.
    """
    widths = word_bits(bits) if encoding == "packed" else (1,) * bits
    names = _names(name, bits, encoding)
    return {each: Integer(0, (1 << width) - 1) for each, width in zip(names, widths, strict=True)}


def encode(name: str, row: Bits, encoding: str) -> dict[str, Value]:
    """Write a row of bits, shape (N,)."""
    words = pack_bits(row[None, :]) if encoding == "packed" else [int(bit) for bit in row]
    return dict(zip(_names(name, len(row), encoding), words, strict=True))


def decode(params: Mapping[str, Value], name: str, bits: int, encoding: str) -> Bits:
    """Read a row of bits, shape (N,)."""
    words = [int(params[each]) for each in _names(name, bits, encoding)]
    if encoding == "packed":
        return np.asarray(unpack_bits(words, 1, bits)[0])
    return np.array(words, dtype=bool)


def _names(name: str, bits: int, encoding: str) -> list[str]:
    if encoding == "bits":
        return [f"{name}.{number}" for number in range(1, bits + 1)]
    words = len(word_bits(bits))
    return [name] if words == 1 else [f"{name}_{number}" for number in range(1, words + 1)]
