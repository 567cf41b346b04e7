"""Begin a flow from the trained weights of another one of the same shape, with other masks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from nfopt.flows.stack import Stack
from nfopt.spec import Coupling, FlowSpec


def inherit(stack: Stack, member: int, spec: FlowSpec, weights: Mapping[str, Tensor]) -> None:
    """Give a member the weights of a trained flow, as far as the two have the same.

    Weights of a coupling's inputs and outputs belong to features, so they follow the features. An
    input that the trained flow did not have begins at zero: at first the network goes on as if it
    were not there. An output that it did not have stays as it was drawn, near the identity. All
    other weights are copied.

    Args:
        stack: Of which one member changes.
        member: Its row.
        spec: The trained flow.
        weights: Its own weights, as `Stack.weights` gives them.

    Raises:
        ValueError: If the two flows have different shapes, or `weights` are not those of `spec`.
    """
    child = stack.specs[member]
    if spec.shape_key() != child.shape_key():
        raise ValueError("`spec` must have the shape of the member, whatever its masks are.")
    begun = stack.weights(member)
    if begun.keys() != weights.keys():
        raise ValueError(
            f"`weights` must be those of the spec, they differ in {begun.keys() ^ weights.keys()}."
        )
    for key, own in begun.items():
        number, name = key.split(".")
        before, now = spec.layers[int(number)], child.layers[int(number)]
        theirs = weights[key].to(own)
        if isinstance(before, Coupling) and isinstance(now, Coupling) and name in _LETTER:
            letter = _LETTER[name]
            to, source = _common(now.mask, before.mask, letter)
            if letter == "C":
                own.zero_()
            own.index_copy_(1, to.to(own.device), theirs.index_select(1, source.to(own.device)))
        else:
            own.copy_(theirs)
    stack.load_weights(member, begun)


# Of a coupling's weights those with an axis of features, always the second one.
_LETTER = {"input": "C", "output": "T", "output_bias": "T"}


def _common(now: str, before: str, letter: str) -> tuple[Tensor, Tensor]:
    """Places, among the features of a letter in either mask, of those that both have."""
    old = [feature for feature, given in enumerate(before) if given == letter]
    new = [feature for feature, given in enumerate(now) if given == letter]
    pairs = [(k, old.index(feature)) for k, feature in enumerate(new) if feature in old]
    both = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2)
    return both[:, 0], both[:, 1]
