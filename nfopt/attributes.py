"""What is written to a trial and to a study: the contract of the attributes `nfopt:*`.

Trials are data: all of it can be read back from the storage alone.
"""

from __future__ import annotations

import math

PREFIX = "nfopt:"

# of a trial
SPEC = "nfopt:spec"  # canonical JSON of the FlowSpec
TRAIN = "nfopt:train"  # canonical JSON of the TrainSpec, at full length
GENOME = "nfopt:genome"  # canonical, hex
PARAMETERS = "nfopt:parameters"  # weights that can receive a gradient
SECONDS = "nfopt:seconds"  # its share of its population's wall-clock time
SEED = "nfopt:seed"  # of its weights
FIDELITY = "nfopt:fidelity"  # steps done / steps of the TrainSpec, at most 1
ROUND_TRIP = "nfopt:round_trip"  # greatest error of data taken to the base and back
COST_TRAIN = "nfopt:cost_train"  # million multiply-adds a row: log_prob and its gradient
COST_INVERSE = "nfopt:cost_inverse"  # million multiply-adds a row: one sample
VERSIONS = "nfopt:versions"
WORKER = "nfopt:worker"  # host, process, when the process began
NLL_2SE = "nfopt:nll_2se"  # two standard errors of the validation NLL
REASON = "nfopt:reason"  # why it was pruned or failed, in words
FIRST = "nfopt:first"  # of a first trial (a recipe, an initial spec): which one, see `first_key`
RETRY_OF = "nfopt:retry_of"  # number of the interrupted trial whose parameters these are
LEASE = "nfopt:lease"  # that its worker lives: a counter, or whose counter; see `leases`
AGAIN = "nfopt:again"  # true: interrupted, no result; its parameters come back in another trial
CHECKPOINT = "nfopt:checkpoint"  # of a population's first trial: where the population is kept
WEIGHTS = "nfopt:weights"  # where its weights are kept, while it is one of the best
AUTONF = "nfopt:autonf"  # of a differentiable search: its history, at most 20 records
CANDIDATES = "nfopt:candidates"  # of it: its race, the best first; spec, NLL, share, cost
WARNINGS = "nfopt:warnings"  # of it: one line each

# of a study; of one of differentiable searches, `nfopt:autonf` says what they search and its cost
SPACE = "nfopt:space"
LIMITS = "nfopt:limits"  # kind and limits that the user gave; the space has more, from the recipes
DATA = "nfopt:data"
BUDGET = "nfopt:budget"
SAMPLER = "nfopt:sampler"
POPULATION = "nfopt:population"
OBJECTIVES = "nfopt:objectives"
STUDY_SEED = "nfopt:seed"
ARTIFACTS = "nfopt:artifacts"  # where checkpoints, weights and pictures are kept
LEASE_SECONDS = "nfopt:lease_seconds"  # a lease that stood still for so long has run out
KEPT = "nfopt:kept"  # file of data that was given in memory; see `kept`
LEADER = "nfopt:leader"  # `first_key` of the best recipe, which is never pruned


def finite(value: float) -> float | None:
    """Return a number that JSON can hold, or None."""
    return float(value) if math.isfinite(value) else None
