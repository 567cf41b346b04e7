"""What a search shows of itself in optuna-dashboard while it runs.

    nfopt.search(..., on_event=Publisher().through(show))

A stack that has trained gives each of its trials a picture of the masks and one of the learning
curve, as artifacts, before the trial is told: a finished trial takes no more attributes. Notes and
the figures of the study are study attributes, which everybody reads all the time; they are written
in rounds, at most once a minute over all workers.

A search never stops, and never waits long, for a picture: what fails is said once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from optuna.exceptions import UpdateFinishedTrialError

from nfopt import attributes as names
from nfopt.data import Prepared
from nfopt.events import (
    BatchTold,
    Closing,
    Done,
    Event,
    Finalists,
    GroupTrained,
    Member,
    Mixed,
    Notice,
    OnEvent,
    SearchEnded,
    Started,
    ignore,
)
from nfopt.model import Flow
from nfopt.report import attachments, figures
from nfopt.report.corner import corner_of, member_flow, rows_in
from nfopt.report.curve import curve_png
from nfopt.report.masks import masks_png
from nfopt.report.notes import study_note, trial_note
from nfopt.report.rows import ENDED, Row, best_of, columns_of, ranked, rows_of
from nfopt.report.searches import search_figures, search_png
from nfopt.spec import FlowSpec
from nfopt.stored import attributes_of, flow_of, trials_of
from nfopt.study.ranking import objectives_of

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial
    from plotly.graph_objects import Figure

    from nfopt.optuna_internals import ArtifactStore

PAUSE = 60.0  # seconds between two rounds of study attributes, over all workers
SHARE = 0.04  # of the time of a search that has a limit, that pictures may take
START = 2.0  # seconds that they may take in any case
CORNERS = 0.02  # of the time so far, that pictures of samples may take
PASS = 2e-3  # seconds that a pass of the way back takes, for the samples of one picture
NOTED = 20  # trials, the best ones, that have a note in any case
MASKS, CURVE, SAMPLES = "masks.png", "learning_curve.png", "samples.png"
SAMPLING = 4.0  # seconds that the samples of the winner may take, by what they cost
SEARCH, HISTORY = "search.png", "history.json"  # of a differentiable search


class Publisher:
    """The callback that draws.

    Args:
        data: What the study searches on, for pictures of samples; None: as `Started` says.
        store: Of the artifacts; None: the study's own.
        clock: Seconds.

    Attributes:
        seconds: Spent so far on drawing and writing.
    """

    def __init__(
        self,
        data: Prepared | None = None,
        store: ArtifactStore | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seconds = 0.0
        self._data, self._store, self._clock = data, store, clock
        self._study: optuna.Study | None = None
        self._tell: OnEvent = ignore
        self._failed = False
        self._new = False  # trials since the last round
        self._storage = ""
        self._closing = Closing()  # of the whole call
        self._corner_seconds = 0.0
        self._began = clock()
        self._rounds = attachments.Rounds(PAUSE, clock)
        self._saved: dict[str, str] = {}  # figures as they were last written, by their name

    def through(self, tell: OnEvent) -> OnEvent:
        """Give a callback that tells an event on, and draws what it brings.

        Args:
            tell: Gets every event first, and a `Notice` when a picture fails for the first time.
        """
        self._tell = tell

        def both(event: Event) -> None:
            tell(event)
            self.on_event(event)

        return both

    def on_event(self, event: Event) -> None:
        """Draw and write what an event brings; nothing that goes wrong there is raised."""
        match event:
            case Started():
                self._storage = event.storage
                if event.budget_seconds is not None:
                    ends = self._began + event.budget_seconds
                    self._closing = Closing(ends, self._notice, self._clock)
                self._data = self._data or event.data
            case GroupTrained():
                self._guarded(lambda: self._group(event))
            case SearchEnded():
                self._guarded(lambda: self._search(event))
            case BatchTold():
                self._guarded(lambda: self._round(pause=True))
            case Finalists() | Mixed():
                self._guarded(self._round)
            case Done():
                self._guarded(lambda: self._winner(event))
                self._guarded(self._round)

    def _notice(self, text: str) -> None:
        self._tell(Notice(text))

    def finish(self) -> None:
        """Write what is not written yet, at the end of a worker that tells no `Done`."""
        self._guarded(lambda: self._round(new=True))

    def _guarded(self, work: Callable[[], None]) -> None:
        began = self._clock()
        try:
            work()
        except UpdateFinishedTrialError:
            pass  # another worker has told the trial: its pictures are that worker's
        except Exception as error:  # noqa: BLE001 - a picture is never worth a search
            if not self._failed:
                self._failed = True
                reason = " ".join(str(error).split())[:200]
                self._notice(f"a picture can't be made ({type(error).__name__}: {reason})")
        self.seconds += self._clock() - began

    # ---------------------------------------------------------------------------------- trials

    def _group(self, event: GroupTrained) -> None:
        study = self._study = event.members[0].trial.study
        self._new = True
        ended = [m for m in event.members if m.result.status != "interrupted" or m.rungs]
        best = _new_best(study, ended)
        for member in ended:
            if self._affordable(member):
                self._attach(member.trial, MASKS, self._masks(member))
                self._attach(member.trial, CURVE, _curve(member))
            if member is best:
                self._samples(member, event)

    def _search(self, event: SearchEnded) -> None:
        self._study = event.trial.study
        self._new = True
        title = f"Trial {event.trial.number}"
        self._attach(event.trial, MASKS, masks_png(event.spec, self._columns(), title=title))
        if event.history is not None:
            self._attach(event.trial, SEARCH, search_png(event.history, title=title))
            self._attach(event.trial, HISTORY, event.history.to_json().encode())

    def _masks(self, member: Member) -> bytes:
        return masks_png(member.spec, self._columns(), title=f"Trial {member.trial.number}")

    def _affordable(self, member: Member) -> bool:
        """Whether there is time for pictures: always, unless the whole search is short of it."""
        if self._closing.ends is None:
            return True
        if self._closing.left() <= 0:
            if not self._closing.left_out:  # said once
                self._closing.fits("drawing the last trials")
            return False
        if member.result.status == "complete":
            return True
        return self.seconds <= START + SHARE * (self._clock() - self._began)

    def _samples(self, member: Member, event: GroupTrained) -> None:
        """Draw the new best flow's samples, if such pictures did not take too much time yet."""
        elapsed = self._clock() - self._began
        if self._data is None or self._corner_seconds > START / 2 + CORNERS * elapsed:
            return
        passes = sum(layer.passes(member.spec.features) for layer in member.spec.layers)
        if self._closing.ends is not None and (
            PASS * passes > START / 2 + CORNERS * elapsed
            or self._closing.left() < START + PASS * passes  # that of the winner follows
        ):
            return
        began = self._clock()
        flow = member_flow(event.stack, member.result.member, self._data, member.marginals)
        title = f"Trial {member.trial.number}: data and samples"
        picture = corner_of(flow, self._data, title=title, seed=member.trial.number)
        self._attach(member.trial, SAMPLES, picture)
        self._corner_seconds += self._clock() - began

    def _attach(self, trial: optuna.Trial, name: str, content: bytes) -> None:
        store = self._own_store()
        if store is not None:
            attachments.attach(trial, store, name, content)

    def _columns(self) -> Sequence[str]:
        if self._data is not None:
            return self._data.columns
        known = {} if self._study is None else attributes_of(self._study).get(names.DATA, {})
        return [str(column) for column in known.get("columns", ())]

    def _own_store(self) -> ArtifactStore | None:
        if self._store is None and self._study is not None:
            from nfopt.distributed.artifacts import store_of

            self._store = store_of(self._study)
        return self._store

    # ----------------------------------------------------------------------------------- study

    def _winner(self, event: Done) -> None:
        """Draw the samples of the flow that is kept; the study has one such picture."""
        store, study = self._own_store(), self._study
        if store is None or study is None or event.out is None or self._data is None:
            return
        closing = event.closing
        rows, seconds = rows_in(closing, closing.sampling, SAMPLING)
        # the report has such a picture too, and comes first where there is time for one only
        if not closing.fits("the dashboard's picture of samples", 2 * seconds):
            return
        whose = "the recipe" if event.number is None else f"trial {event.number}"
        title = f"The flow that is kept, from {whose}: data and samples"
        picture = corner_of(Flow.load(event.out), self._data, title=title, rows=rows)
        attachments.replace(study, store, SAMPLES, picture)

    def _round(self, *, pause: bool = False, new: bool = False) -> None:
        """Write what notes are missing, the study's figures and its note, from storage alone.

        Args:
            pause: Only if no worker has done so for a while.
            new: Only if there were trials since the last time.
        """
        study = self._study
        if study is None or (pause and not self._rounds.due(study)) or (new and not self._new):
            return
        self._new = False
        known, columns = attributes_of(study), self._columns()
        trials = trials_of(study)
        ended = [trial for trial in trials if trial.state in ENDED]
        rows = rows_of(trials, objectives_of(study))
        attachments.save_trial_notes(
            study,
            ended,
            lambda trial: trial_note(trial, columns),
            always={row.number for row, _ in ranked(rows)[:NOTED]},
        )
        best = best_of(rows)
        spec = None if best is None else flow_of(trials[best.number])
        for name, figure in figures_of(rows, best, spec, columns, trials).items():
            text = figure.to_json()
            if self._saved.get(name) != text:
                attachments.save_figure(study, name, text)
                self._saved[name] = text
        attachments.save_study_note(
            study, study_note(study.study_name, self._storage, known, rows, spec)
        )
        self._rounds.done(study)


def figures_of(
    rows: Sequence[Row],
    best: Row | None,
    spec: FlowSpec | None,
    columns: Sequence[str],
    trials: Sequence[FrozenTrial],
) -> dict[str, Figure]:
    """The figures of a study by the name that each is kept under."""
    found = {
        "nfopt-1-best-by-trials": figures.best_by_trials(rows),
        "nfopt-2-best-by-seconds": figures.best_by_seconds(rows),
        "nfopt-3-nll-and-parameters": figures.pareto(rows),
    }
    if spec is not None and best is not None and spec.features > 1:
        title = f"Layers in which a column sees another: trial {best.number}"
        found["nfopt-4-coverage"] = figures.coverage(spec, columns_of(spec, columns), title=title)
    return found | search_figures(trials, None if best is None else best.number)


def _new_best(study: optuna.Study, members: Sequence[Member]) -> Member | None:
    """The best of a group, if it is better than all trials before."""
    complete = [m for m in members if m.result.status == "complete"]
    best = min(complete, key=lambda m: m.result.nll, default=None)
    if best is None or not math.isfinite(best.result.nll):
        return None
    before = best_of(rows_of(trials_of(study), objectives_of(study)))
    better = before is None or before.nll is None or best.result.nll < before.nll
    return best if better else None


def _curve(member: Member) -> bytes:
    result = member.result
    at = f" at {max(member.rungs)}%" if member.rungs else ""
    ended = {"pruned": f"pruned{at}", "interrupted": f"out of time{at}"}
    return curve_png(
        result.curve,
        title=f"Trial {member.trial.number}",
        rungs=member.rungs,
        ended=ended.get(result.status, result.status),
    )
