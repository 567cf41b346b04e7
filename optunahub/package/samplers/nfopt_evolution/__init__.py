"""The evolution of nfopt as an OptunaHub sampler."""

from nfopt.samplers import EvolutionSampler

__all__ = ["EvolutionSampler"]
