"""The evolutionary core, knowing nothing of Optuna or torch: ask and tell on plain arrays."""

from nfopt.evolution.genome import (
    Category,
    EdgeBlock,
    Genome,
    Integer,
    Layout,
    MaskBlock,
    Real,
    Usage,
)

__all__ = ["Category", "EdgeBlock", "Genome", "Integer", "Layout", "MaskBlock", "Real", "Usage"]
