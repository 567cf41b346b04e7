"""Hooks of a search: pictures while it runs, here and in its workers, and a page at its end.

with publishing(on_event, storage, pictures) as tell:
    result = reported(run_search(..., watch=watching(storage, pictures), on_event=tell), tell)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

from optuna.storages import InMemoryStorage

from nfopt.events import Notice, OnEvent, Watch, ignore
from nfopt.files import replacing
from nfopt.report.page import facts_of_result, html_page
from nfopt.report.publisher import Publisher
from nfopt.study.results import FitResult

REPORT = "report.html"

Result = TypeVar("Result", bound=FitResult)


@contextmanager
def publishing(tell: OnEvent, storage: object, pictures: bool | None) -> Iterator[OnEvent]:
    """A callback that draws a search's pictures and passes its events on to `tell`.

    Args:
        tell: Receives all events.
        storage: Of the search.
        pictures: Whether to draw; None: unless the storage is in memory, which no dashboard reads.
    """
    if watching(storage, pictures) is None:
        yield tell
        return
    publisher = Publisher()
    yield publisher.through(tell)
    publisher.finish()


def watching(storage: object, pictures: bool | None) -> Watch | None:
    """The hook that draws in the other workers of a search, or None for no pictures.

    Args:
        storage: Of the search.
        pictures: As in `publishing`.
    """
    if pictures is None:
        pictures = not isinstance(storage, InMemoryStorage)
    return _draw if pictures else None


def _draw(tell: OnEvent, storage: object) -> AbstractContextManager[OnEvent]:
    return publishing(tell, storage, True)  # at module level: Ray refers to it by name


def reported(result: Result, tell: OnEvent | None) -> Result:
    """Write a page beside the flow; if that fails, the call still succeeds.

    Args:
        result: Of a search or a fit.
        tell: Receives a notice if it fails.

    Returns:
        `result`.
    """
    if result.out is None:
        return result
    path = result.out / REPORT
    try:
        with replacing(path) as beside:
            beside.write_text(html_page(facts_of_result(result)), encoding="utf-8")
    except Exception as error:  # noqa: BLE001 - no error of a page may end a call
        reason = " ".join(str(error).split())[:200]
        (tell or ignore)(Notice(f"{path} can't be written ({type(error).__name__}: {reason})"))
    return result
