"""What is written to a trial and to a study: the contract of the attributes `nfopt:*`.

Trials are data: all of it can be read back from the storage alone.
"""

from __future__ import annotations

import hashlib
import math
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import optuna

from nfopt.spec import FlowSpec, TrainSpec

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

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
WARM_FROM = "nfopt:warm_from"  # number of the trial whose weights it began from
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
WARM_CHILDREN = "nfopt:warm_children"  # true: children begin from their parents' weights
LEADER = "nfopt:leader"  # `first_key` of the best recipe, which is never pruned


class Worker(msgspec.Struct, frozen=True):
    """The process that trains a trial.

    Attributes:
        host: Of the machine.
        pid: Of the process.
        began: When the process began, in the system's own count, so that a process number that is
            used again is not mistaken for it; "" where the system does not tell.
        space: Which processes can see each other (two containers of one host name can't); "" where
            the system does not tell.
    """

    host: str
    pid: int
    began: str
    space: str = ""

    @classmethod
    def here(cls) -> Worker:
        """This process."""
        return cls(socket.gethostname(), os.getpid(), _began(os.getpid()), _space())

    @classmethod
    def of(cls, trial: FrozenTrial) -> Worker | None:
        """Read a trial's worker, if it has one."""
        try:
            return msgspec.convert(trial.user_attrs.get(WORKER), cls)
        except msgspec.ValidationError:
            return None

    def alive(self) -> bool | None:
        """Say whether the process lives; None if it is on another machine, which can't be known."""
        if self.host != socket.gethostname() or (self.space and self.space != _space()):
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return not self.began or self.began == _began(self.pid)


def _began(pid: int) -> str:
    if not sys.platform.startswith("linux"):
        return ""
    try:
        # field 22 of stat, counted after the command's closing bracket, is the start time
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _space() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def first_key(spec: FlowSpec, train: TrainSpec) -> str:
    """Name a first trial, so that a later call, with others or in another order, knows it again."""
    return hashlib.sha256(f"{spec.to_json()}{train.to_json()}".encode()).hexdigest()[:16]


def finite(value: float) -> float | None:
    """Return a number that JSON can hold, or None."""
    return float(value) if math.isfinite(value) else None


def specs_of(trial: FrozenTrial) -> tuple[FlowSpec, TrainSpec]:
    """Read a trial's flow and training back.

    Raises:
        ValueError: If the trial has none.
    """
    try:
        spec, train = trial.user_attrs[SPEC], trial.user_attrs[TRAIN]
    except KeyError:
        raise ValueError(
            f"Trial {trial.number} has no `{SPEC}`: it was never trained by nfopt."
        ) from None
    return FlowSpec.from_json(spec), TrainSpec.from_json(train)


def attributes_of(study: optuna.Study) -> dict[str, Any]:
    """Read a study's attributes, without a copy of what is read already."""
    return study._storage.get_study_user_attrs(study._study_id)


def write(trial: optuna.Trial, values: Mapping[str, Any]) -> None:
    """Set several attributes of a trial."""
    for name, value in values.items():
        trial.set_user_attr(name, value)
