"""The evolutionary core, knowing nothing of Optuna or torch: ask and tell on plain arrays."""

from nfopt.evolution.genome.blocks import EdgeBlock, MaskBlock, Usage
from nfopt.evolution.genome.genome import Genome
from nfopt.evolution.genome.layout import Layout
from nfopt.evolution.genome.variables import Category, Integer, Real

__all__ = ["Category", "EdgeBlock", "Genome", "Integer", "Layout", "MaskBlock", "Real", "Usage"]
