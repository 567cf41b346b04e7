"""How the members of a saved flow were trained: enough to train them again.

It stands in flow.json as `info["made"]`; `docs/flows.md` has the table. What is missing there has
the default below, and what is not known is passed over, so that older and later files are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec.structs import replace

from nfopt.spec import TrainSpec
from nfopt.training.results import MemberResult

Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
Steps = Annotated[int, msgspec.Meta(ge=0, le=1 << 31)]


class Provenance(msgspec.Struct, frozen=True):
    """How one member was trained.

    Attributes:
        train: At full length.
        marginals: Its maps, by name.
        seed: Of its first weights.
        batches: Seed of the stack's batches and dropout.
        planned: Steps that the schedule was made for.
        steps: Steps done.
        stack: Flows that were trained as one stack; 0: not known.
        row: Its place among them.
        fold: Which rows it held out, where each trial is a flow a fold.
        ended: "complete", "pruned" at a rung, or "interrupted" by the end of the time.
        raced: It was validated at the rungs of a search.
        timed: A limit of time took part, so it can't be repeated step for step.
    """

    train: TrainSpec
    marginals: str = "standardise"
    seed: Count = 0
    batches: Count = 0
    planned: Steps = 0
    steps: Steps = 0
    stack: Steps = 0
    row: Steps = 0
    fold: Steps | None = None
    ended: Literal["complete", "pruned", "interrupted"] = "complete"
    raced: bool = False
    timed: bool = False


def of_bag(
    result: MemberResult,
    train: TrainSpec,
    marginals: str,
    seed: int,
    *,
    batches: int = 0,
    steps: int,
    stack: int = 0,
    size: int = 1,
    raced: bool = False,
    timed: bool,
) -> list[Provenance]:
    """Say how the flows of a candidate were trained.

    Args:
        result: How the candidate ended; `member` is the row of its first flow.
        train: At full length.
        marginals: Its maps.
        seed: Of its weights.
        batches: See `Provenance`; and those below.
        steps: That its stack was to take.
        stack: Flows in it.
        size: Flows of the candidate: one, or one a fold.
        raced: See `Provenance`.
        timed: See `Provenance`.
    """
    ended: Any = "complete" if result.status == "failed" else result.status
    one = Provenance(
        train=train,
        marginals=marginals,
        seed=seed,
        batches=batches,
        planned=result.steps if timed and ended == "complete" else steps,
        steps=result.steps,
        stack=stack,
        ended=ended,
        raced=raced,
        timed=timed,
    )
    return [
        replace(one, row=result.member + fold, fold=fold if size > 1 else None)
        for fold in range(size)
    ]


class Made(msgspec.Struct, frozen=True):
    """How a flow was made, of all its members.

    Attributes:
        options: Of the table, as `nfopt.search` takes them.
        split: Kind of the split; None: as the table has it.
        seed: Of the split and of dequantising.
        rows: Of the three parts.
        folds: Flows of a trial, each of which held out other rows; 0: one.
        folds_seed: Of the folds, and of the rows where not all were used.
        searched: The rows were those of a search, which takes some of very many.
        members: One a member, in the flow's order.
    """

    options: dict[str, Any] = {}
    split: str | None = None
    seed: Count = 0
    rows: list[Count] = []
    folds: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    folds_seed: Count = 0
    searched: bool = False
    members: list[Provenance] = []

    @classmethod
    def of(
        cls, described: Mapping[str, Any], members: Sequence[Provenance], **more: Any
    ) -> dict[str, Any]:
        """Write it, with what is known of the data; see `nfopt.study.dataset`."""
        known = {key: described[key] for key in ("options", "split", "seed", "rows")}
        return msgspec.to_builtins(cls(**known, **more, members=list(members)))  # type: ignore[no-any-return]


msgspec.json.Decoder(Made)  # read now: two threads that do it at once crash msgspec
