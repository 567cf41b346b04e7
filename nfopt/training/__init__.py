"""Train populations of flows: one loop, shared batches, everything else a member's own.

(stack,) = build([spec] * 16, torch.Generator().manual_seed(0))
results = train(stack, TrainSpec(steps=2000), data, generator=torch.Generator().manual_seed(1))
results[0].nll, results[0].nll_2se       # the stack now holds the best weights of each member
"""

from nfopt.model import log_prob
from nfopt.training.batches import TrainData
from nfopt.training.checkpoint import CheckpointError
from nfopt.training.evaluate import mean_nll, round_trip_error
from nfopt.training.loop import train
from nfopt.training.results import MemberResult, Progress, Rung

__all__ = [
    "CheckpointError",
    "MemberResult",
    "Progress",
    "Rung",
    "TrainData",
    "log_prob",
    "mean_nll",
    "round_trip_error",
    "train",
]
