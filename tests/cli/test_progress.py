"""What standard error shows: lines at their time, and a bar."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from nfopt import events
from nfopt.cli.progress import Bar, Lines, State, clock_text, line_of
from nfopt.cli.results import plain, with_error


def _training(seconds: float, share: float = 0.5) -> events.Training:
    return events.Training("search", "2 x affine coupling", 4, 10, share, 1.25, seconds)


def _told(trials: int) -> events.BatchTold:
    return events.BatchTold((0, 1), 1, 1, 0, (2,), trials, 0, 1.25, 3.0)


STARTED = events.Started("s", "sqlite:///x.db", "tpe", 4, 1, 10, 60.0, True)


def test_lines_come_seldom() -> None:
    now = [0.0]
    lines: list[str] = []
    shown = Lines(lines.append, clock=lambda: now[0])
    shown.tell(STARTED)
    for second in range(100):
        now[0] = float(second)
        shown.tell(_training(float(second)))
    assert len(lines) == 1 + 3
    shown.tell(_told(2))
    shown.tell(_told(3))
    assert len(lines) == 1 + 3 + 1


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (STARTED, "study 's' resumes with 1 trial in sqlite:///x.db: tpe, 4 at a time, "
                  "until 10 trials or 1 minute"),
        (_told(2), "2 trials (last 2: 1 complete, 1 pruned); best so far: trial 0, "
                   "validation log-likelihood -1.250, 3.0 s"),
        (_training(61.0), "searching 4 flows (2 x affine coupling): 50%, "
                          "validation log-likelihood -1.250, 1:01"),
        (events.Finalists((3, None), ("a", "b"), 30.0),
         "training in full, from fresh seeds: trial 3, the recipe, up to 30 s"),
        (events.Mixed((3, 7), (2, 1), ("a", "b"), 9),
         "chosen on validation rows of 9 trained flows: trial 3 (2 times), trial 7"),
        (events.Notice("see `drop_rows`"), "Note: see `--drop-rows`"),
        (events.RungReached(0.25, {0: 1.0}, ()), ""),
    ],
)  # fmt: skip
def test_each_event_in_a_line(event: events.Event, said: str) -> None:
    assert line_of(event) == said


def test_the_bar_shows_the_whole_call() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, highlight=False)
    with Progress(console=console) as progress:
        bar = Bar(progress)
        bar.tell(STARTED)
        bar.tell(_training(15.0, share=0.9))
        assert progress.tasks[0].completed == 0.25  # of a minute
    file = console.file
    assert isinstance(file, io.StringIO)
    assert "study 's' resumes" in file.getvalue()


def test_times_and_scores_are_short() -> None:
    assert [clock_text(s) for s in (-1, 3.21, 45, 59.9, 187, 3753)] == [
        "0.0 s", "3.2 s", "45 s", "1:00", "3:07", "1:02:33",
    ]  # fmt: skip
    assert with_error(-4.21934, 0.0312) == "-4.2193 ± 0.0312 (2 s.e.)"
    assert with_error(-4.2, float("nan")) == "-4.2000"
    assert plain({"a": (1.0, float("inf"))}) == {"a": [1.0, None]}


def test_the_rung_the_incumbent_and_the_time_left_stand_behind_a_line() -> None:
    state = State()
    state.tell(events.Started("s", "sqlite:///x.db", "tpe", 4, 10, 30, None, True))
    training = _training(20.0)
    assert state.more(training) == ""
    assert state.share(training) == (10 + 0.5 * 4) / 30
    state.tell(events.RungReached(0.25, {0: 1.0}, (3, 4)))
    assert state.more(training) == ", past 25% (2 pruned)"
    state.tell(events.BatchTold((0, 1), 4, 0, 0, (4,), 14, 12, -1.5, 40.0))
    # 4 trials in 40 s, 16 to go from there
    assert state.more(_training(50.0)) == ", best: trial 12 1.500, 2:30 left"
    state.tell(events.Finalists((3, None), ("a", "b"), 30.0))
    retraining = events.Training("retrain", "x", 1, 1, 0.5, None, 60.0)
    assert state.more(retraining) == ""
    assert state.share(retraining) == 0.5


def test_with_a_limit_of_time_the_rest_of_it_is_left() -> None:
    lines: list[str] = []
    now = [0.0]
    shown = Lines(lines.append, clock=lambda: now[0])
    shown.tell(STARTED)
    now[0] = 45.0
    shown.tell(_training(45.0))
    assert lines[-1].endswith("validation log-likelihood -1.250, 45 s, 15 s left")
