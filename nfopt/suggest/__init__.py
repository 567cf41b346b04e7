"""Masks, parents and whole flows for anyone's objective, with any sampler."""

from nfopt.suggest.conditional import conditional
from nfopt.suggest.functions import suggest_flow, suggest_mask, suggest_parents

__all__ = ["conditional", "suggest_flow", "suggest_mask", "suggest_parents"]
