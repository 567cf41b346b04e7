"""A structure with fresh weights, as what other libraries train themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import torch

from nfopt.export.translate import refuse_missing
from nfopt.export.zuko import builder, of_weights
from nfopt.flows import build
from nfopt.layers import conditioner_of
from nfopt.model import Flow
from nfopt.model.arguments import check_seed
from nfopt.spec import FlowSpec

Factory = Callable[..., Any]  # (features, context=0) to a zuko.flows.Flow: zuko is without types


def factory(
    source: Any, *, member: int | None = None, seed: int = 0, dtype: torch.dtype = torch.float32
) -> Factory:
    """Make a constructor of zuko flows that have a structure nfopt found, and fresh weights.

    It takes the place of `zuko.flows.NSF` and the like: `factory(flow)(features, context)`. Layers,
    masks, networks and base are those of the structure; marginal maps are not part of it, so that
    the data should be roughly standardised, as for any flow of zuko's.

    Args:
        source: A `Flow`, a trial of a study, or a `FlowSpec`.
        member: Whose structure, of a mixture; None: the one with the largest share.
        seed: Of the weights. Each flow that is made has others, in the same order for a seed.
        dtype: Precision of the weights.

    Returns:
        A callable of the number of features, which must be the structure's, and of context, which
        may be any (0: none) where a layer has a network that can see it. It raises ValueError
        otherwise.

    Raises:
        ExportError: If zuko has no such layer, or is not installed.
        ValueError: If the trial has no flow, there is no such member, or the seed is none.
        TypeError: If the source is something else.
    """
    check_seed(seed)
    spec = _spec_of(source, member)
    refuse_missing([spec])
    builder()  # says what to install
    generator = torch.Generator().manual_seed(seed)
    sees = any(conditioner_of(layer) is not None for layer in spec.layers)

    def make(features: int, context: int = 0) -> Any:
        if features != spec.features:
            raise ValueError(
                f"`features` must be {spec.features}, for which the structure was found, got"
                f" {features!r}."
            )
        if isinstance(context, bool) or not isinstance(context, int) or context < 0:
            raise ValueError(f"`context` must be a number of columns, got {context!r}.")
        if context and not sees:
            raise ValueError(
                f"`context` must be 0, as no layer of the structure can see it, got {context}."
            )
        own = msgspec.structs.replace(spec, context_features=context)
        (stack,) = build([own], generator)
        return of_weights(own, stack.weights(0), dtype)

    return make


def _spec_of(source: Any, member: int | None) -> FlowSpec:
    if isinstance(source, FlowSpec):
        return source
    if isinstance(source, Flow):
        if member is None:
            shares = source.shares or [1.0] * len(source)
            member = max(range(len(source)), key=shares.__getitem__)
        if not 0 <= member < len(source):
            raise ValueError(f"`member` must be from 0 to {len(source) - 1}, got {member}.")
        return source.specs[member]
    if not hasattr(source, "user_attrs"):
        raise TypeError(
            f"`source` must be a Flow, a trial or a FlowSpec, got {type(source).__name__}."
        )
    from nfopt.stored import recipe_of  # Optuna, which flows do without

    return recipe_of(source).flow
