"""What a page tells of: what was delivered, the study it came from, the flow and its data.

`facts_of_result` takes them from a call that has just ended. `facts_of_study` reads them from a
storage and from the folder of the delivered flow; without a flow to draw samples of it needs
neither torch nor the data.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nfopt import attributes as names
from nfopt.errors import NfoptError
from nfopt.events import Closing
from nfopt.report.rows import Row, best_of, columns_of, rows_of
from nfopt.spec import FlowSpec
from nfopt.storage.url import RUNS
from nfopt.stored import attributes_of, trials_of
from nfopt.study.ranking import objectives_of

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from nfopt.data import Prepared
    from nfopt.model import Flow
    from nfopt.study.results import FitResult

DESCRIPTION = "flow.json"
T = TypeVar("T")
LARGEST = 64 << 20  # bytes of a description that a page reads


@dataclass(frozen=True)
class Delivered:
    """A flow as its flow.json describes it.

    Attributes:
        specs: One a member.
        shares: Of the members, with the sum 1.
        info: Scores, seconds, command and the like, see `nfopt.runner.deliver`.
        home: The folder, or None.
    """

    specs: Sequence[FlowSpec]
    shares: Sequence[float]
    info: Mapping[str, Any]
    home: Path | None

    def number(self, name: str, *, of: str | None = None) -> float | None:
        """A finite number in `info`, or None where there is none."""
        place = self.info if of is None else self.info.get(of)
        value = place.get(name) if isinstance(place, Mapping) else None
        known = isinstance(value, int | float) and math.isfinite(value)
        return float(value) if known else None  # type: ignore[arg-type]

    def each(self, name: str, kind: type[T]) -> list[T | None]:
        """A list in `info` with an entry of a kind a member; None where there is none."""
        told = self.info.get(name)
        if not isinstance(told, list | tuple) or len(told) != len(self.specs):
            return [None] * len(self.specs)
        return [value if isinstance(value, kind) else None for value in told]


@dataclass(frozen=True)
class StudyFacts:
    """A study, read once.

    Attributes:
        name: Of the study.
        storage: Its URL, the password masked; "" for the one that every command uses.
        known: Its attributes.
        trials: All of them, by number.
        objectives: Names of their values.
    """

    name: str
    storage: str
    known: Mapping[str, Any]
    trials: Sequence[FrozenTrial]
    objectives: Sequence[str]

    @cached_property
    def rows(self) -> list[Row]:
        """The trials that have ended, in the order in which they ended."""
        return rows_of(self.trials, self.objectives)

    @cached_property
    def best(self) -> Row | None:
        """The best of them."""
        return best_of(self.rows)


@dataclass(frozen=True)
class Facts:
    """All that a page tells of.

    Attributes:
        name: Of the data.
        columns: Names of the features.
        described: The data as `nfopt:data` describes it: rows of the parts and so on.
        delivered: The flow as it is described.
        flow: The flow itself.
        data: What it was trained on.
        study: Where it comes from.
        missing: Why there are no pictures of the flow, where that is to be said.
        closing: What there is time for.
    """

    name: str
    columns: Sequence[str]
    described: Mapping[str, Any] = field(default_factory=dict)
    delivered: Delivered | None = None
    flow: Flow | None = None
    data: Prepared | None = None
    study: StudyFacts | None = None
    missing: str = ""
    closing: Closing = field(default_factory=Closing)

    def names_for(self, spec: FlowSpec) -> Sequence[str]:
        """Names of a flow's features."""
        return columns_of(spec, self.columns)


def facts_of_result(result: FitResult) -> Facts:
    """Collect what a call that has just ended knows."""
    from nfopt.study.results import SearchResult

    flow, data = result.flow, result.data
    shares = flow.shares or [1 / len(flow)] * len(flow)
    told = _study(result.study, "") if isinstance(result, SearchResult) else None
    described = {} if told is None else told.known.get(names.DATA) or {}
    if data is not None:
        described = {"rows": data.sizes, "context_columns": data.context_columns} | described
    return Facts(
        name=str(flow.info.get("name", "data")),
        columns=flow.columns,
        described=described,
        delivered=Delivered(flow.specs, shares, flow.info, result.out),
        flow=flow,
        data=data,
        study=told,
        closing=result.closing,
    )


def facts_of_study(
    study: optuna.Study, *, storage: str = "", model: Path | None = None, data: Any = None
) -> Facts:
    """Read a study, and the flow that it delivered if that is at hand.

    Args:
        study: One of nfopt.
        storage: How its storage is named in commands, the password masked.
        model: Folder of the flow; None: where the study says that it is.
        data: Where the data is now; None: where the study found it.

    Raises:
        ValueError: If `model` is given and is not a flow of this study.
    """
    told = _study(study, storage)
    described = told.known.get(names.DATA) or {}
    delivered, why = None, ""
    if (home := model or _home(told)) is not None:
        try:
            delivered = read_delivered(home, described.get("fingerprint"))
        except ValueError as error:
            if model is not None:
                raise
            why = str(error)
    flow, table = None, None
    if delivered is not None:
        flow, table, why = _opened(delivered, told, data)
    return Facts(
        name=str(described.get("name", "data")),
        columns=[str(column) for column in described.get("columns", ())],
        described=described,
        delivered=delivered,
        flow=flow,
        data=table,
        study=told,
        missing=why,
    )


def _study(study: optuna.Study, storage: str) -> StudyFacts:
    known, trials = attributes_of(study), trials_of(study)
    return StudyFacts(study.study_name, storage, known, trials, objectives_of(study))


def _home(told: StudyFacts) -> Path | None:
    """The folder that the study's flow was saved in, if it is here: below the working folder.

    Whoever can write to a storage can name any folder in it.
    """
    said = (told.known.get(names.DELIVERED) or {}).get("out")
    for folder in (said, RUNS / told.name):
        if folder is None:
            continue
        try:
            found = Path(folder).resolve()
            if found.is_relative_to(Path.cwd()) and (found / DESCRIPTION).is_file():
                return Path(os.path.relpath(found))
        except (OSError, ValueError, RuntimeError):  # no name of a folder
            continue
    return None


def read_delivered(home: Path, fingerprint: str | None = None) -> Delivered:
    """Read the description of a flow, without its weights.

    Args:
        home: Its folder.
        fingerprint: Of the data that it must have been trained on; None: of any.

    Raises:
        ValueError: If it can't be read, or is a flow of other data.
    """
    path = home / DESCRIPTION
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"{DESCRIPTION} is too large")
        plain = json.loads(path.read_text(encoding="utf-8"))
        specs = [FlowSpec.from_json(json.dumps(member)) for member in plain["members"]]
        info = dict(plain["info"])
        shares = [float(share) for share in plain.get("shares") or [1 / len(specs)] * len(specs)]
        if len(shares) != len(specs):
            raise ValueError(f"{len(specs)} members and {len(shares)} shares")
    except (OSError, ValueError, TypeError, KeyError, RecursionError, ZeroDivisionError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise ValueError(f"`model` {str(home)!r} can't be read as a flow: {reason}.") from None
    if fingerprint is not None and info.get("fingerprint") != fingerprint:
        raise ValueError(f"`model` {str(home)!r} is a flow of other data than the study's.")
    return Delivered(specs, shares, info, home)


def _opened(
    delivered: Delivered, told: StudyFacts, source: Any
) -> tuple[Flow | None, Prepared | None, str]:
    """Load a flow and its data for pictures; or say why there are none."""
    from nfopt.model import Flow
    from nfopt.study.dataset import read_again

    assert delivered.home is not None
    try:
        return Flow.load(delivered.home), read_again(told.known, source).data, ""
    except (NfoptError, ValueError, OSError) as error:
        if source is not None:
            raise
        return None, None, str(error)
