"""What is written to a trial and to a study: the contract of the attributes `nfopt:*`.

Trials are data: all of it can be read back from the storage alone. A storage may be shared, so what
is read is somebody else's input: `wrong_in_trial` and `wrong_in_study` say what of it is not what
nfopt writes. `nfopt.stored` reads through them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET
from msgspec import UnsetType as Unset

PREFIX = "nfopt:"

# of a trial
SPEC = "nfopt:spec"  # canonical JSON of the FlowSpec
TRAIN = "nfopt:train"  # canonical JSON of the TrainSpec, at full length
MARGINALS = "nfopt:marginals"  # the marginal maps, by name; none: standardise
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
REPEATS = "nfopt:repeats"  # of a further seed of a recipe: its `first_key`
RETRY_OF = "nfopt:retry_of"  # number of the interrupted trial whose parameters these are
LEASE = "nfopt:lease"  # that its worker lives: a counter, or whose counter; see `leases`
AGAIN = "nfopt:again"  # true: interrupted, no result; its parameters come back in another trial
CHECKPOINT = "nfopt:checkpoint"  # of a population's first trial: where the population is kept
WEIGHTS = "nfopt:weights"  # where its weights are kept, while it is one of the best
AUTONF = "nfopt:autonf"  # of a differentiable search: its history, at most 20 records
CANDIDATES = "nfopt:candidates"  # of it: its race, the best first; spec, NLL, share, cost
WARNINGS = "nfopt:warnings"  # of it: one line each
ORIGIN = "nfopt:origin"  # operator, parents, genome's digest; see `nfopt.samplers.trials.Origin`
KIN = "nfopt:kin"  # what it began from; ranked only among its like. Missing: cold

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
ARTIFACTS_TOKEN = "nfopt:artifacts_token"  # stands in the study's folder there, too
LEASE_SECONDS = "nfopt:lease_seconds"  # a lease that stood still for so long has run out
KEPT = "nfopt:kept"  # file of data that was given in memory; see `kept`
DELIVERED = "nfopt:delivered"  # what came of it, its scores, and where it was saved
SUGGESTED = "nfopt:suggested:"  # and the name of parameters: what anyone's objective suggests
LEADER = "nfopt:leader"  # `first_key` of the best recipe, by which time is measured


# ------------------------------------------------------------------------------------ what may be

_WEIGHTS_NAME = r"weights-[0-9a-f]{32}\.safetensors"
MOST_TEXT = 1 << 22  # characters of a flow or a genome: 1,024 features by 1,024 parents have them
MOST_ITEMS = 200_000  # in what has no fixed form, such as the history of a search
MOST_NESTED = 12  # lists in lists

Text = Annotated[str, msgspec.Meta(max_length=MOST_TEXT)]
Word = Annotated[str, msgspec.Meta(max_length=1024)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
Amount = Annotated[float, msgspec.Meta(ge=0, le=1e300)]  # NaN is none, nor is infinity
Number = Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]
Token = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}\\Z")]
Maps = Annotated[str, msgspec.Meta(pattern="^[a-z_]+(,[a-z_]+)*\\Z", max_length=1 << 16)]
Words = Annotated[list[Word], msgspec.Meta(max_length=MOST_ITEMS)]
Counts = Annotated[list[Count], msgspec.Meta(max_length=MOST_ITEMS)]
Free = dict[Word, Any]  # its size and nesting are looked at, its meaning where it is used
Value = None | bool | Annotated[int, msgspec.Meta(ge=-(1 << 62), le=1 << 62)] | Number | Text


def _named(field: str) -> str:
    return PREFIX + field


class _Lease(msgspec.Struct):
    beat: Count | None = None
    lead: Count | None = None


class _Origin(msgspec.Struct):
    operator: Word = ""
    parents: Annotated[list[Count], msgspec.Meta(max_length=1000)] = []
    genome: Word = ""
    replicate: bool = False


class _Pointer(msgspec.Struct):
    token: Token
    slot: Literal[0, 1] | None = None
    next: Token | None = None


class _Raced(msgspec.Struct):
    spec: Text
    cost: Amount
    share: Amount
    nll: Number | None = None


class _Trial(msgspec.Struct, rename=_named):
    """Every attribute of a trial, none of them needed."""

    spec: Text | Unset = UNSET
    train: Text | Unset = UNSET
    marginals: Maps | Unset = UNSET
    genome: Text | Unset = UNSET
    parameters: Count | Unset = UNSET
    seconds: Amount | Unset = UNSET
    seed: Count | Unset = UNSET
    fidelity: Annotated[float, msgspec.Meta(ge=0, le=1)] | Unset = UNSET
    round_trip: Amount | None = None
    cost_train: Amount | Unset = UNSET
    cost_inverse: Amount | Unset = UNSET
    versions: dict[Word, Word] | Unset = UNSET
    worker: dict[Word, Word | int] | Unset = UNSET
    nll_2se: Amount | None = None
    reason: Text | Unset = UNSET
    first: Word | Unset = UNSET
    repeats: Word | Unset = UNSET
    retry_of: Count | Unset = UNSET
    lease: _Lease | Unset = UNSET
    again: bool | Unset = UNSET
    checkpoint: _Pointer | Unset = UNSET
    weights: Annotated[str, msgspec.Meta(pattern=f"^{_WEIGHTS_NAME}\\Z")] | Unset = UNSET
    autonf: Free | Unset = UNSET
    candidates: Annotated[list[_Raced], msgspec.Meta(max_length=1000)] | Unset = UNSET
    warnings: Annotated[list[Text], msgspec.Meta(max_length=1000)] | Unset = UNSET
    origin: _Origin | Unset = UNSET
    kin: Word | Unset = UNSET


class _Queued(msgspec.Struct):
    """What Optuna itself stores of a trial, where nfopt reads it."""

    fixed_params: dict[Word, Value] = {}
    failed_trial: Count | None = None


class _Data(msgspec.Struct):
    name: Word | None = None
    source: Text | None = None
    options: Free = {}
    split: Word | None = None
    seed: Count = 0
    rows: Counts = []
    columns: Words = []
    context_columns: Words = []
    table: Free | None = None
    fingerprint: Word = ""


class _Budget(msgspec.Struct):
    trials: Annotated[int, msgspec.Meta(ge=1, le=1 << 53)] | None = None
    minutes: Amount | None = None
    until: Number | None = None


class _Delivered(msgspec.Struct):
    out: Text | None = None
    members: Count = 1
    test_nll: Number | None = None
    test_nll_2se: Amount | None = None
    validation_nll: Number | None = None
    seconds: Amount | None = None
    command: Text = ""


class _Population(msgspec.Struct):
    size: Annotated[int, msgspec.Meta(ge=1, le=1 << 16)]
    steps: Annotated[int, msgspec.Meta(ge=1, le=1 << 31)] | None = None
    folds: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    share: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None
    seconds: Annotated[float, msgspec.Meta(gt=0, le=1e300)] | None = None
    full: Amount | None = None
    stacked: Amount | None = None


class _Limits(msgspec.Struct):
    kind: Word
    limits: dict[Word, list[Any]]


class _Study(msgspec.Struct, rename=_named):
    """Every attribute of a study, none of them needed."""

    space: Free | Text | Unset = UNSET
    limits: _Limits | Unset = UNSET
    data: _Data | Unset = UNSET
    budget: _Budget | Unset = UNSET
    sampler: Word | Unset = UNSET
    population: _Population | Unset = UNSET
    objectives: (
        Annotated[
            list[Literal["nll", "parameters", "inverse_cost"]],
            msgspec.Meta(min_length=1, max_length=3),
        ]
        | Unset
    ) = UNSET
    seed: Count | Unset = UNSET
    artifacts: Text | Unset = UNSET
    artifacts_token: Token | Unset = UNSET
    lease_seconds: Annotated[float, msgspec.Meta(ge=1, le=1e9)] | Unset = UNSET
    kept: Text | Unset = UNSET
    leader: Word | Unset = UNSET
    delivered: _Delivered | Unset = UNSET
    autonf: Free | Unset = UNSET
    versions: dict[Word, Word] | Unset = UNSET


for _kind in (_Trial, _Queued, _Study):
    msgspec.json.Decoder(_kind)  # read now: two threads that do it at once crash msgspec

_WALKED = ("autonf", "data", "limits", "space")  # have parts of a free form


def wrong_in_trial(own: Mapping[str, Any], optunas: Mapping[str, Any]) -> str | None:
    """Say which attribute of a trial is not what nfopt or Optuna writes; None: all are.

    Args:
        own: The trial's user attributes.
        optunas: Its system attributes.
    """
    return _wrong(own, _Trial) or _wrong(optunas, _Queued) or _wrong_constraints(optunas)


def wrong_in_study(own: Mapping[str, Any]) -> str | None:
    """Say which attribute of a study is not what nfopt writes; None: all are."""
    return _wrong(own, _Study)


def _wrong(values: Mapping[str, Any], kind: type[msgspec.Struct]) -> str | None:
    for field in _WALKED:
        if (value := values.get(PREFIX + field)) is not None and (why := _unsound(value)):
            return f"`{PREFIX}{field}` {why}"
    try:
        msgspec.convert(values, kind)
    except (msgspec.ValidationError, RecursionError, OverflowError) as error:
        return _which(values, kind) or str(error)
    return None


def _which(values: Mapping[str, Any], kind: type[msgspec.Struct]) -> str:
    """Name the attribute that is wrong, and say why."""
    for name in kind.__struct_encode_fields__:
        if name not in values:
            continue
        try:
            msgspec.convert({name: values[name]}, kind)
        except msgspec.ValidationError as error:
            why, _, where = str(error).partition(" - at `$.")
            inside = where.removesuffix("`").removeprefix(name).lstrip(".")
            return f"`{name}` is wrong: {why[:1].lower()}{why[1:]}" + (
                f" at {inside}" if inside else f", got {_short(values[name])}"
            )
        except (RecursionError, OverflowError):
            return f"`{name}` is nested too deeply or too large"
    return ""


def _short(value: object) -> str:
    if isinstance(value, list | dict):
        return f"a {type(value).__name__} of {len(value)}"
    text = f"{value:.40}" if isinstance(value, str) else str(value)[:40]
    return repr(text) if isinstance(value, str) else text


def _unsound(value: object) -> str:
    """Say whether plain data is too large, too deeply nested, or holds numbers that are none."""
    level, seen = [value], 0
    for _ in range(MOST_NESTED + 1):
        below: list[object] = []
        for each in level:
            if isinstance(each, float) and not math.isfinite(each):
                return f"holds {each}"
            if isinstance(each, str) and len(each) > MOST_TEXT:
                return f"holds a text of {len(each):,} characters"
            if isinstance(each, dict):
                below += [*each, *each.values()]
            elif isinstance(each, list | tuple):
                below += each
        seen += len(below)
        if seen > MOST_ITEMS:
            return f"has more than {MOST_ITEMS:,} parts"
        if not below:
            return ""
        level = below
    return f"is nested more than {MOST_NESTED} deep"


def _wrong_constraints(optunas: Mapping[str, Any]) -> str | None:
    """Look at Optuna's constraints: a list as of old, or one attribute each."""
    for name, value in optunas.items():
        if not name.startswith("constraint"):
            continue
        numbers = value if name == "constraints" and isinstance(value, list | tuple) else [value]
        if not all(type(x) in (int, float) and abs(x) <= 1e300 for x in numbers):
            return f"`{name:.40}` is wrong: expected numbers, got {_short(value)}"
    return None


def finite(value: float) -> float | None:
    """Return a number that JSON can hold, or None."""
    return float(value) if math.isfinite(value) else None
