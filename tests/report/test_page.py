"""The HTML page: whole, and without anything that data could put into it."""

from __future__ import annotations

import re
from datetime import datetime
from html.parser import HTMLParser

from optuna.trial import create_trial

from nfopt import attributes as names
from nfopt.cli.studies.status import describe
from nfopt.report.page import html_page

from .toys import flow, group, study, table, tell


class Tags(HTMLParser):
    """Collects the tags of a page and where they point."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        self.links += [str(value) for name, value in attrs if name in ("src", "href")]


def test_the_page_needs_nothing_else_and_escapes_what_is_data() -> None:
    found = study(table())
    tell(found, group(found, [2.0, 1.5]))
    described = found.user_attrs[names.DATA] | {"name": "<script>alert(1)</script>"}
    found.set_user_attr(names.DATA, described)
    page = html_page(found)
    tags = Tags()
    tags.feed(page)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page
    assert "b" not in tags.found  # the name of a column is <b>
    assert all(link.startswith("data:image/png;base64,") for link in tags.links)
    assert len(tags.links) == 1
    assert page.index("<td>1<td>1.5000") < page.index("<td>0<td>2.0000")
    assert "Best so far, by trials" in page
    assert "Layers in which a column sees another: trial 1" in page


def test_an_empty_study_has_a_page() -> None:
    assert "0 trials complete" in html_page(study(table()))


def test_the_page_and_status_name_the_same_best_trial() -> None:
    found = study(table())
    for minute in (3, 2, 1):  # of equal trials, the last ended first
        trial = create_trial(value=1.5, user_attrs={names.SPEC: flow(minute).to_json()})
        trial.datetime_complete = datetime(2026, 1, 1, 0, minute)
        found.add_trial(trial)
    page = html_page(found)
    shown = re.findall(r"<tr><td>(\d+)<td>", page)
    told = describe(found)
    assert shown == [str(row["number"]) for row in told["best_trials"]] == ["0", "1", "2"]
