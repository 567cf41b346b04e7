"""Samplers for Optuna."""

from nfopt.samplers.evolution import EvolutionSampler
from nfopt.samplers.leftover import record_leftover

__all__ = ["EvolutionSampler", "record_leftover"]
