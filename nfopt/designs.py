"""Named mask designs, known to be good starting points, by the names in `DESIGNS`.

All consist of complementary pairs of layers, as far as the number of layers allows: what the first
layer of a pair transforms, the second conditions on. In the first layer of a pair that is not
random, the first feature conditions.

    >>> from nfopt.masks import letters
    >>> letters(halves(3, 5))
    ('CCCTT', 'TTTCC', 'CCCTT')
    >>> letters(parity(2, 5))
    ('CTCTC', 'TCTCT')
    >>> letters(binary_code(4))
    ('CTCT', 'TCTC', 'CCTT', 'TTCC')
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nfopt.masks import Masks, from_transformed, repair

DECAY = 0.25
"""Factor on a dependence for each pair of layers that has cut it already, in `dependence`."""

FLOOR = 0.01
"""Least weight of a pair of features, as a share of the mean dependence, in `dependence`."""

STARTS = 6
"""Eigenvectors that `balanced_cut` starts from."""

MAX_STEPS, MAX_TRIED = 1024, 64
"""Most exchanges from a start, and most features of a side tried in each; limits from D = 128."""


def halves(layers: int, features: int) -> Masks:
    """The first half of the features conditions the second, then the other way round, and so on.

    Args:
        layers: L.
        features: D, at least 2.

    Returns:
        Shape (L, D).
    """
    _check(layers, features)
    return _pairs(np.arange(features)[None, :] >= (features + 1) // 2, layers)


def parity(layers: int, features: int) -> Masks:
    """Features of even index condition those of odd index, then the other way round, and so on.

    Args:
        layers: L.
        features: D, at least 2.

    Returns:
        Shape (L, D).
    """
    _check(layers, features)
    return _pairs(np.arange(features)[None, :] % 2 == 1, layers)


def binary_code(features: int, layers: int | None = None) -> Masks:
    """Masks from the bits of a feature's index: each bit, then its complement.

    Any two features differ in some bit, so the whole code covers every ordered pair of features.

    Args:
        features: D, at least 2.
        layers: L. By default the whole code, 2 * ceil(log2 D); beyond it the code begins again.

    Returns:
        Shape (L, D).
    """
    bits = (features - 1).bit_length()
    layers = 2 * bits if layers is None else layers
    _check(layers, features)
    return _pairs(np.arange(features) >> np.arange(bits)[:, None] & 1 == 1, layers)


def complement_pairs(layers: int, features: int, rng: np.random.Generator) -> Masks:
    """Random balanced layers, each followed by its complement: the random baseline.

    Args:
        layers: L; if odd, the last layer is a random one without its complement.
        features: D, at least 2; if odd, either part may be the greater one.
        rng: The source of randomness.

    Returns:
        Shape (L, D).
    """
    _check(layers, features)
    firsts = np.empty(((layers + 1) // 2, features), dtype=bool)
    for first in firsts:
        greater = int(rng.integers(2)) * (features % 2)
        first[:] = rng.permutation(features) < features // 2 + greater
    return _pairs(firsts, layers)


def iid(layers: int, features: int, rng: np.random.Generator, share: float = 0.5) -> Masks:
    """Independent random letters, then repaired: a control, as such masks are a poor start.

    Args:
        layers: L.
        features: D, at least 2.
        rng: The source of randomness.
        share: The probability that a feature is transformed, between 0 and 1.

    Returns:
        Shape (L, D).
    """
    _check(layers, features)
    if not 0 <= share <= 1:
        raise ValueError(f"`share` must be between 0 and 1, not {share}.")
    return repair(from_transformed(rng.random((layers, features)) < share), rng)


def dependence(layers: int, features: int, matrix: NDArray[np.float64]) -> Masks:
    """For each pair of layers, the balanced cut with most dependence between its two sides.

    A dependence that k pairs of layers have cut already is weighted by DECAY**k. FLOOR times the
    mean dependence is added to every pair of features, so that later layers cut those pairs that
    no layer has cut yet.

    >>> from nfopt.masks import letters
    >>> matrix = np.zeros((4, 4))
    >>> matrix[0, 1] = matrix[1, 0] = 1.0  # in nats: features 0 and 1 depend on each other
    >>> letters(dependence(2, 4, matrix))
    ('CTTC', 'TCCT')

    Args:
        layers: L; if odd, the last layer has no complement.
        features: D, at least 2.
        matrix: Dependence of every two features, shape (D, D), 0 or more: the mutual information
            of ranks, in nats. The diagonal is ignored, the two triangles are averaged.

    Returns:
        Shape (L, D).

    Raises:
        ValueError: If the matrix has another shape, or an entry that is negative or not finite.
    """
    _check(layers, features)
    if matrix.shape != (features, features):
        raise ValueError(f"`matrix` must have shape ({features}, {features}), not {matrix.shape}.")
    weights = (matrix + matrix.T) / 2
    np.fill_diagonal(weights, 0.0)
    if not np.isfinite(weights).all() or weights.min() < 0:
        worst = weights[~(weights >= 0)] if not (weights >= 0).all() else weights.max()
        raise ValueError(
            f"`matrix` must have finite entries of 0 or more, not {np.ravel(worst)[0]}."
        )
    weights = weights + (FLOOR * weights.mean() or 1.0)
    np.fill_diagonal(weights, 0.0)
    firsts = np.empty(((layers + 1) // 2, features), dtype=bool)
    times_cut = np.zeros((features, features))
    for first in firsts:
        first[:] = balanced_cut(weights * DECAY**times_cut)
        times_cut += first[:, None] != first[None, :]
    return _pairs(firsts, layers)


def balanced_cut(weights: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Split the features into two halves with as much weight as possible between them.

    Tabu search by exchanges of two features, from several starts: the halves, parity, and the
    medians of the leading eigenvectors. Deterministic.

    Args:
        weights: Shape (D, D), symmetric, with a zero diagonal.

    Returns:
        Shape (D,): true on one side; false for the first feature. If D is odd, either side may be
        the greater one.
    """
    features = len(weights)
    # With an odd D a feature that depends on nothing makes the sides equal, and is dropped again.
    size = features + features % 2
    padded = np.zeros((size, size))
    padded[:features, :features] = weights
    ranks = [np.arange(size), np.arange(size) % 2]
    # The cut is (sum of weights - s'Ws) / 4 for signs s: small eigenvalues make it great.
    vectors = np.linalg.eigh(padded)[1][:, :STARTS]
    ranks += [np.argsort(np.argsort(vector.round(9), kind="stable")) for vector in vectors.T]
    best, least = np.zeros(size), np.inf
    for rank in ranks:
        signs = np.ones(size)
        signs[np.argsort(rank, kind="stable")[: size // 2]] = -1
        signs, energy = _exchange(padded, signs)
        if energy < least - 1e-12:
            best, least = signs, energy
    return np.asarray(best[:features] != best[0])


def _exchange(
    weights: NDArray[np.float64], signs: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Lower s'Ws by exchanges of one feature a side, past local minima; the best signs seen."""
    size = len(signs)
    field = weights @ signs
    energy = float(signs @ field)
    best, least = signs.copy(), energy
    free_from = np.zeros(size, dtype=np.int64)
    tenure = size // 8
    stale = 0
    for step in range(min(8 * size, MAX_STEPS)):
        # Exchanging i and j, of opposite signs, changes s'Ws by -4 (s_i h_i + s_j h_j) - 8 W_ij.
        pull = -4 * signs * field
        up, down = _least(pull, signs > 0), _least(pull, signs < 0)
        change = pull[up, None] + pull[None, down] - 8 * weights[np.ix_(up, down)]
        held = (free_from[up, None] > step) | (free_from[None, down] > step)
        change = np.where(held & (energy + change >= least - 1e-12), np.inf, change)
        row, column = np.unravel_index(int(change.argmin()), change.shape)
        if not np.isfinite(change[row, column]):
            break
        i, j = up[row], down[column]
        energy += float(change[row, column])
        field += 2 * (weights[:, j] - weights[:, i])
        signs[[i, j]] = signs[[j, i]]
        free_from[[i, j]] = step + 1 + tenure
        stale += 1
        if energy < least - 1e-12:
            best, least, stale = signs.copy(), energy, 0
        if stale > min(size, MAX_STEPS // 8):
            break
    return best, least


def _least(pull: NDArray[np.float64], side: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The features of a side that are tried: those of least pull."""
    members = np.flatnonzero(side)
    if len(members) <= MAX_TRIED:
        return members
    return members[np.argpartition(pull[members], MAX_TRIED)[:MAX_TRIED]]


Design = Callable[[int, int, np.random.Generator, NDArray[np.float64]], Masks]
"""From L, D, a source of randomness and a dependence matrix; each design takes what it needs."""

DESIGNS: dict[str, Design] = {
    "halves": lambda layers, features, rng, matrix: halves(layers, features),
    "parity": lambda layers, features, rng, matrix: parity(layers, features),
    "binary_code": lambda layers, features, rng, matrix: binary_code(features, layers),
    "complement_pairs": lambda layers, features, rng, matrix: complement_pairs(
        layers, features, rng
    ),
    "iid": lambda layers, features, rng, matrix: iid(layers, features, rng),
    "dependence": lambda layers, features, rng, matrix: dependence(layers, features, matrix),
}


def _pairs(firsts: NDArray[np.bool_], layers: int) -> Masks:
    """Each row followed by its complement, repeated up to `layers` rows."""
    code = np.stack([firsts, ~firsts], axis=1).reshape(2 * len(firsts), firsts.shape[1])
    return from_transformed(code[np.arange(layers) % max(len(code), 1)])


def _check(layers: int, features: int) -> None:
    if layers < 0:
        raise ValueError(f"`layers` must be 0 or more, not {layers}.")
    if features < 2:
        raise ValueError(
            f"`features` must be at least 2, not {features}: a coupling transforms some features "
            "and conditions on others."
        )
