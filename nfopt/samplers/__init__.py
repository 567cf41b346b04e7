"""Samplers for Optuna."""

from nfopt.samplers.evolution import EvolutionSampler

__all__ = ["EvolutionSampler"]
