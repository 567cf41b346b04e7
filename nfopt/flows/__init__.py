"""Flows with a population axis: every weight has a leading axis P, masks and orders are data.

    (stack,) = build([spec] * 16, torch.Generator().manual_seed(0))
    stack.log_prob(x)      # (16, B) for x of shape (B, D)
    stack.sample(1000, generator)

`build` groups the specs whose tensor shapes agree; a group trains as one program.
"""

from importlib import import_module
from pkgutil import iter_modules

from nfopt.flows.layer import Matrices
from nfopt.flows.stack import Stack, build

for _module in iter_modules(__path__):  # each registers the kinds that it has
    import_module(f"{__name__}.{_module.name}")

__all__ = ["Matrices", "Stack", "build"]
