"""Rows of bits as parameters: packed into integers of at most 32 bits, or one parameter a bit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nfopt.masks import pack_bits, unpack_bits, word_bits
from nfopt.space.domains import Domain, Integer, Value

Bits = NDArray[np.bool_]


def gene_domains(name: str, bits: int, encoding: str) -> dict[str, Domain]:
    """The parameters of a row of bits, by name, with their domains.

    >>> list(gene_domains("layer_1.mask", 40, "packed"))  # at most 32 bits a parameter
    ['layer_1.mask_1', 'layer_1.mask_2']
    >>> list(gene_domains("layer_1.mask", 3, "bits"))
    ['layer_1.mask.1', 'layer_1.mask.2', 'layer_1.mask.3']
    """
    widths = word_bits(bits) if encoding == "packed" else (1,) * bits
    names = _names(name, bits, encoding)
    domains = [Integer(0, (1 << width) - 1) for width in widths]
    return dict(zip(names, domains, strict=True))


def encode(name: str, row: Bits, encoding: str) -> dict[str, Value]:
    """Parameters of a row of bits, shape (N,).

    >>> encode("layer_1.mask", np.array([False, True, True]), "packed")
    {'layer_1.mask': 6}
    """
    words = pack_bits(row[None, :]) if encoding == "packed" else [int(bit) for bit in row]
    return dict(zip(_names(name, len(row), encoding), words, strict=True))


def decode(params: Mapping[str, Value], name: str, bits: int, encoding: str) -> Bits:
    """The row of bits of parameters, shape (N,); the inverse of `encode`."""
    words = [int(params[parameter]) for parameter in _names(name, bits, encoding)]
    if encoding == "packed":
        return np.asarray(unpack_bits(words, 1, bits)[0])
    return np.array(words, dtype=bool)


def read_row(params: Mapping[str, Value], name: str, bits: int) -> Bits | None:
    """The row of bits of parameters in either encoding, shape (N,); None if they are not there."""
    for encoding in ("packed", "bits"):
        if all(parameter in params for parameter in _names(name, bits, encoding)):
            return decode(params, name, bits, encoding)
    return None


def recoded(
    params: Mapping[str, Value], rows: Mapping[str, int], encoding: str
) -> Mapping[str, Value]:
    """Add the rows of bits that are there in the other encoding only.

    Args:
        params: Parameters of a trial.
        rows: How many bits each row has, by its name.
        encoding: Which one is wanted.
    """
    added: dict[str, Value] = {}
    for name, bits in rows.items():
        if any(parameter not in params for parameter in _names(name, bits, encoding)):
            row = read_row(params, name, bits)
            added |= {} if row is None else encode(name, row, encoding)
    return {**params, **added} if added else params


def _names(name: str, bits: int, encoding: str) -> list[str]:
    if encoding == "bits":
        return [f"{name}.{number}" for number in range(1, bits + 1)]
    words = len(word_bits(bits))
    return [name] if words == 1 else [f"{name}_{number}" for number in range(1, words + 1)]
