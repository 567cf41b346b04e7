"""Flows with a population axis: every weight has a leading axis P, masks and orders are data.

    (stack,) = build([spec] * 16, torch.Generator().manual_seed(0))
    stack.log_prob(x)      # (16, B) for x of shape (B, D)
    stack.sample(1000, generator)

`build` groups the specs whose tensor shapes agree; a group trains as one program.
"""

from nfopt.flows.layer import Matrices
from nfopt.flows.stack import Stack, build

__all__ = ["Matrices", "Stack", "build"]
