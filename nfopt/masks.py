"""Coupling masks: which features a layer transforms, which it conditions on, which it leaves out.

A flow's masks are an array of letters of shape (L, D), one row a coupling layer:
`T` is transformed, `C` conditions (kept, and fed to the conditioner), `I` is idle (kept, not fed).
Masks are valid if every layer has a `T` and a `C`, and over the flow every feature is `T` in one
layer and `C` in another: a `T` and a `C` in every row and every column.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Masks = NDArray[np.str_]
"""Letters `C`, `T`, `I`, shape (L, D), dtype `<U1`."""

WORD_BITS = 32
"""Bits in the widest packed integer; Optuna's integers are exact up to 53."""


def parse(rows: Sequence[str], features: int | None = None) -> Masks:
    """Turn one string a layer into an array of letters; the inverse of `letters`.

    >>> letters(parse(["CCTT", "TTCC"]))
    ('CCTT', 'TTCC')

    Args:
        rows: One string a layer, one letter a feature.
        features: The number of features D. By default the length of the first row.

    Returns:
        Shape (L, D).

    Raises:
        ValueError: If a row has another length or another letter than `C`, `T`, `I`.
    """
    if features is None:
        features = len(rows[0]) if rows else 0
    for layer, row in enumerate(rows):
        if len(row) != features:
            raise ValueError(
                f"`masks` must have one letter a feature: layer {layer} has {len(row)} letters, "
                f"the data {features} features."
            )
    masks = np.array([list(row) for row in rows], dtype="<U1").reshape(len(rows), features)
    _planes(masks)
    return masks


def letters(masks: Masks) -> tuple[str, ...]:
    """Write masks as one string a layer; the inverse of `parse`.

    Args:
        masks: Shape (L, D).

    Returns:
        L strings of D letters.
    """
    return tuple("".join(row) for row in masks)


def from_transformed(transformed: NDArray[np.bool_]) -> Masks:
    """Classic masks, without idle features: `T` where true, `C` elsewhere.

    Args:
        transformed: Shape (L, D).

    Returns:
        Shape (L, D).
    """
    return np.where(transformed, "T", "C").astype("<U1")


def is_valid(masks: Masks, *, cover: bool = True) -> bool:
    """Whether `repair` would leave the masks as they are.

    Args:
        masks: Shape (L, D).
        cover: Also require that every feature is transformed and conditions over the flow; of a
            single layer, which cannot do both, it is not required.
    """
    transformed, conditions = _planes(masks)
    valid = bool(transformed.any(axis=1).all() and conditions.any(axis=1).all())
    if cover and len(masks) > 1:
        valid = valid and bool(transformed.any(axis=0).all() and conditions.any(axis=0).all())
    return valid


def repair(masks: Masks, rng: np.random.Generator | None = None, *, cover: bool = True) -> Masks:
    """Make masks valid by changing few letters; valid masks are returned unchanged.

    >>> letters(repair(parse(["CCC", "TTC"])))
    ('CCT', 'TTC')

    Greedy: each step writes the letter that satisfies most of the violated rules, less those that
    it newly violates. Ties go to the layer, then the feature, with fewest of the new letter, which
    spreads the changes evenly. (Without idle features exhaustive search found no smaller repair;
    with them 3% of the masks need one letter less.)

    Args:
        masks: Shape (L, D); not changed.
        rng: Breaks the remaining ties. By default the first layer and feature is taken, so that
            equal masks are repaired equally.
        cover: Whether every feature must be transformed and condition at least once; not needed
            beside other layers that transform all features, and impossible with a single layer,
            which is held to the rules of the layer alone.

    Returns:
        Shape (L, D), a new array.

    Raises:
        ValueError: If there is only one feature, which a coupling cannot split.
    """
    _planes(masks)
    repaired = masks.copy()
    count, features = masks.shape
    if count and features < 2:
        raise ValueError(
            f"`masks` must have at least 2 features to be repaired, not {features}: a coupling "
            "transforms some features and conditions on others."
        )
    over_flow = cover and count > 1
    while not is_valid(repaired, cover=over_flow):
        gains = _gains(repaired, over_flow)
        best = np.flatnonzero(gains == gains.max())
        pick = best[0] if rng is None else rng.choice(best)
        letter, layer, feature = np.unravel_index(pick, gains.shape)
        repaired[layer, feature] = "TC"[letter]
    return repaired


def _gains(masks: Masks, over_flow: bool) -> NDArray[np.float64]:
    """What writing a letter (first axis: `T`, `C`) into each cell is worth, shape (2, L, D)."""
    planes = np.stack(_planes(masks))
    in_layer = planes.sum(axis=2, keepdims=True)
    in_feature = planes.sum(axis=1, keepdims=True)
    meets = (in_layer == 0) * 1.0 + over_flow * (in_feature == 0)
    breaks = (in_layer == 1) * 1.0 + over_flow * (in_feature == 1)
    gains = meets - (planes * breaks)[::-1]
    # Among equals, worth less than any rule: an even spread.
    layers, features = masks.shape
    spread = (in_layer + in_feature / (layers + 1)) / (features + 1)
    gains = gains - 0.25 * spread
    return np.where(planes, -np.inf, gains)


def canonical_order(masks: Masks) -> NDArray[np.int64]:
    """The order of the layers in which equal flows look equal.

    Two neighbouring couplings commute if each is idle where the other transforms. (Masks without
    idle features are therefore canonical.) Of all orders that such exchanges reach, this is the
    lexicographically first one: each step takes the first of the layers that no remaining layer
    must precede (lexicographic normal form of a trace; Anisimov & Knuth 1979).

    Args:
        masks: Shape (L, D).

    Returns:
        Shape (L,): `masks[canonical_order(masks)]` is the canonical form.
    """
    transformed, conditions = _planes(masks)
    touched = transformed | conditions
    meet = transformed.astype(np.int64) @ touched.T.astype(np.int64) > 0
    must_precede = np.triu(meet | meet.T, k=1)
    rows = letters(masks)
    waiting = list(range(len(rows)))
    order: list[int] = []
    while waiting:
        free = [layer for layer in waiting if not must_precede[waiting, layer].any()]
        first = min(free, key=lambda layer: (rows[layer], layer))
        order.append(first)
        waiting.remove(first)
    return np.array(order, dtype=np.int64)


def canonical(masks: Masks) -> Masks:
    """Put layers that commute in their canonical order, shape (L, D); see `canonical_order`.

    Args:
        masks: Shape (L, D), of layers with no mixing between them.
    """
    return np.asarray(masks[canonical_order(masks)])


def pair_coverage(masks: Masks) -> NDArray[np.int64]:
    """Count, for every ordered pair, the layers in which one feature conditions another.

    >>> pair_coverage(parse(["CCT", "TTC"])).tolist()
    [[0, 0, 1], [0, 0, 1], [1, 1, 0]]

    Args:
        masks: Shape (L, D).

    Returns:
        Shape (D, D). Entry (i, j) is the number of layers that transform i while j conditions;
        the diagonal is 0.

    Raises:
        ValueError: If a layer transforms no feature, or conditions on none.
    """
    transformed, conditions = _planes(masks)
    for plane, does in ((transformed, "transforms no feature"), (conditions, "conditions on none")):
        empty = np.flatnonzero(~plane.any(axis=1))
        if empty.size:
            layer = int(empty[0])
            raise ValueError(f"`masks` must be repaired first: layer {layer} {does}.")
    return transformed.astype(np.int64).T @ conditions.astype(np.int64)


def distance(a: Masks, b: Masks) -> int:
    """Count the letters in which two flows' masks differ.

    A metric; layers that only one of the two has count D each. Compare canonical forms.

    Args:
        a: Shape (L, D).
        b: Shape (L', D).

    Raises:
        ValueError: If the numbers of features differ.
    """
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"`a` and `b` must have the same number of features, not {a.shape[1]} and {b.shape[1]}."
        )
    shared = min(len(a), len(b))
    differing = int((a[:shared] != b[:shared]).sum())
    return differing + abs(len(a) - len(b)) * int(a.shape[1])


def word_bits(bits: int) -> tuple[int, ...]:
    """The number of bits in each integer of a packed row: as many of 32 as fit, then the rest."""
    full, rest = divmod(bits, WORD_BITS)
    return (WORD_BITS,) * full + ((rest,) if rest else ())


def pack_bits(rows: NDArray[np.bool_]) -> list[int]:
    """Pack rows of bits into integers of at most 32 bits, the first bit in the lowest place.

    Args:
        rows: Shape (R, N).

    Returns:
        R * ceil(N / 32) integers, row by row.
    """
    words, start = [], 0
    for bits in word_bits(rows.shape[1]):
        places = np.uint64(1) << np.arange(bits, dtype=np.uint64)
        words.append((rows[:, start : start + bits] * places).sum(axis=1, dtype=np.uint64))
        start += bits
    return [int(word) for word in np.stack(words, axis=-1).ravel()] if words else []


def unpack_bits(words: Sequence[int], rows: int, bits: int) -> NDArray[np.bool_]:
    """Unpack the integers of `pack_bits`.

    Args:
        words: R * ceil(N / 32) integers.
        rows: R.
        bits: N.

    Returns:
        Shape (R, N).

    Raises:
        ValueError: If there are more or fewer integers, or one has bits beyond the last.
    """
    widths = word_bits(bits)
    if len(words) != rows * len(widths):
        raise ValueError(
            f"`words` must have {rows * len(widths)} integers for {rows} rows of {bits} bits, "
            f"not {len(words)}."
        )
    for index, word in enumerate(words):
        width = widths[index % len(widths)]
        if not 0 <= word < 1 << width:
            raise ValueError(f"`words` must fit {width} bits: integer {index} is {word}.")
    packed = np.array(words, dtype=np.uint64).reshape(rows, len(widths), 1)
    places = packed >> np.arange(WORD_BITS, dtype=np.uint64) & np.uint64(1)
    return places.reshape(rows, len(widths) * WORD_BITS)[:, :bits].astype(bool)


def pack(masks: Masks, idle: bool) -> list[int]:
    """Pack masks into integers of at most 32 bits, exactly.

    Each layer is a plane of bits, 1 for `T`; where idle features are allowed, a second plane
    follows, 1 for `I`.

    >>> pack(parse(["CCT", "TTC"]), idle=False)
    [4, 3]

    Args:
        masks: Shape (L, D).
        idle: Whether to write the second plane.

    Returns:
        L * planes * ceil(D / 32) integers; see `pack_bits`.

    Raises:
        ValueError: If a feature is idle and `idle` is false.
    """
    transformed, conditions = _planes(masks)
    unused = ~(transformed | conditions)
    if not idle and unused.any():
        layer, feature = (int(index) for index in np.argwhere(unused)[0])
        raise ValueError(
            f"`masks` must have no idle feature where `idle` is false: layer {layer}, "
            f"feature {feature} is 'I'."
        )
    planes = np.stack([transformed, unused] if idle else [transformed], axis=1)
    return pack_bits(planes.reshape(-1, masks.shape[1]))


def unpack(words: Sequence[int], layers: int, features: int, idle: bool) -> Masks:
    """Unpack the integers of `pack`. Where both planes have a 1 the feature is transformed.

    Args:
        words: L * planes * ceil(D / 32) integers.
        layers: L.
        features: D.
        idle: Whether there is a second plane.

    Returns:
        Shape (L, D).

    Raises:
        ValueError: If there are more or fewer integers, or one has bits beyond the last feature.
    """
    count = 2 if idle else 1
    planes = unpack_bits(words, layers * count, features).reshape(layers, count, features)
    kept = np.where(planes[:, -1], "I", "C") if idle else "C"
    return np.where(planes[:, 0], "T", kept).astype("<U1")


def _planes(masks: Masks) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where a feature is transformed and where it conditions, each of shape (L, D)."""
    if masks.ndim != 2:
        raise ValueError(f"`masks` must have shape (L, D), not {masks.shape}.")
    transformed, conditions = masks == "T", masks == "C"
    strange = ~(transformed | conditions | (masks == "I"))
    if strange.any():
        layer, feature = (int(index) for index in np.argwhere(strange)[0])
        raise ValueError(
            f"`masks` must consist of the letters C, T and I: layer {layer}, feature {feature} "
            f"is {str(masks[layer, feature])!r}."
        )
    return transformed, conditions
