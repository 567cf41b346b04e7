"""A trained flow in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nfopt.spec import FlowSpec


def words(specs: Sequence[FlowSpec], context: Sequence[str], info: Mapping[str, Any]) -> str:
    """Say the structure, how large it is and how good.

    Args:
        specs: One a member.
        context: The names of the context columns.
        info: As a `Flow` has it.
    """
    kinds = dict.fromkeys(spec.summary() for spec in specs)
    found = [" | ".join(kinds), f"{sum(s.parameter_count() for s in specs):,} parameters"]
    if len(specs) > 1:
        found[0] = f"ensemble of {len(specs)}: {found[0]}"
    if context:
        found.append(f"given {', '.join(context)}")
    if info.get("name"):
        found.append(f"of {info['name']}")
    scores = info.get("scores")
    if isinstance(scores, dict):
        found += [
            f"{name.removesuffix('_nll')} NLL {value:.4g}"
            for name, value in scores.items()
            if name.endswith("_nll") and isinstance(value, int | float)
        ]
    return f"Flow({'; '.join(found)})"
