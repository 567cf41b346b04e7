"""The HTML page: whole, and without anything that names from data or storage could put into it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import create_trial

from nfopt import attributes as names
from nfopt.cli.studies.status import describe
from nfopt.report.page import document, facts_of_study, html_page
from nfopt.report.page.facts import Delivered, Facts, StudyFacts
from nfopt.report.page.markup import NOTHING, Html, el, text
from nfopt.spec import Autoregressive, Coupling, FlowSpec
from report.toys import flow, group, kept, study, table, tell

ELEMENTS = {
    "html", "head", "meta", "title", "style", "body", "nav", "a", "h1", "h2", "h3", "section", "p",
    "div", "dl", "dt", "dd", "pre", "code", "table", "tr", "th", "td", "figure", "figcaption",
    "img", "small", "svg", "path", "circle", "g", "text", "span", "br", "ul", "li", "details",
    "summary",
}  # fmt: skip
HOSTILE = [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onload='alert(1)", "]]>",
    "</title><script>", "</style><script>", "<!--", "&lt;b&gt;", "a\nb\r\0", "\u202eabc", "\ud800",
    "javascript:alert(1)", "%s{}$x$", "\\u003cscript>", "日本", "",
]  # fmt: skip


class Tags(HTMLParser):
    """Collects what a page consists of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.attributes: dict[str, list[str]] = {}
        self.words = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, []).append(str(value))

    def handle_data(self, data: str) -> None:
        self.words += data


def check(page: str) -> Tags:
    """A page that needs nothing else, and runs nothing."""
    tags = Tags(page)
    assert {tag.lower() for tag in tags.found} <= ELEMENTS
    assert not [name for name in tags.attributes if name.startswith("on")]
    links = tags.attributes.get("src", []) + tags.attributes.get("href", [])
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in links)
    assert "url(" not in page
    assert "@import" not in page
    assert document.POLICY in tags.attributes["content"]
    assert document.FAILED not in tags.words
    page.encode()  # a lone surrogate would fail
    return tags


def searched() -> Facts:
    """A study with its flow, as when a search has ended."""
    data = table()
    found = study(data)
    tell(found, group(found, [2.0, 1.5]))
    told = facts_of_study(found)
    model = kept(data)
    delivered = Delivered(model.specs, (0.75, 0.25), model.info, Path("nfopt-runs/toy"))
    return replace(told, delivered=delivered, flow=model, data=data)


def test_a_page_has_every_section_and_needs_nothing_else() -> None:
    page = html_page(searched())
    tags = check(page)
    for title, _ in document.SECTIONS:
        if title not in ("What mattered", "Calibration"):  # of two trials; of no context
            assert f"<h2>{title}</h2>" in page
    assert len(tags.attributes["src"]) == 3  # samples, and the masks of two members
    assert "b" not in tags.found  # the name of a column is <b>
    assert len(page.encode()) < 1_000_000
    for said in ("-4.250 ± 0.062", "nfopt search table.csv", "1 min 30 s", "a warning", "0.750",
                 "nfopt.load('nfopt-runs/toy')", "nfopt score nfopt-runs/toy DATA",
                 "Best so far, by trials", "coordinate 1", "nfopt 1.2.3"):  # fmt: skip
        assert said in tags.words


def test_what_has_nothing_to_tell_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    own = (("One", lambda facts: el("p", facts.name)), ("Two", lambda facts: NOTHING))
    monkeypatch.setattr(document, "SECTIONS", own)
    page = html_page(Facts("x < y", ["a"]))
    assert '<section id="one"><h2>One</h2><p>x &lt; y</p></section>' in page
    assert "Two" not in page


def test_a_section_that_fails_says_so_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(facts: Facts) -> Html:
        raise ValueError("no <b>\nmore")

    monkeypatch.setattr(
        document, "SECTIONS", (("One", broken), ("Two", lambda facts: el("p", "2")))
    )
    page = html_page(Facts("x", ["a"]))
    assert f"{text(document.FAILED)} (ValueError: no &lt;b&gt; more)." in page
    assert "<p>2</p>" in page


hostile = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=20))


@settings(max_examples=8)
@given(st.lists(hostile, min_size=4, max_size=4), hostile, hostile, hostile)
def test_names_never_become_html(columns: list[str], name: str, command: str, reason: str) -> None:
    known = {
        names.SAMPLER: reason,
        names.BUDGET: {"trials": 3},
        names.DELIVERED: {"out": name, "command": command, "test_nll": 1.0},
    }
    attributes = {
        names.SPEC: flow().to_json(),
        names.REASON: reason,
        "nfopt:origin": {"operator": name},
        names.NLL_2SE: 0.1,
    }
    trials = [
        create_trial(value=1.5 + number, user_attrs=attributes, params={})
        if number < 2
        else create_trial(state=optuna.trial.TrialState.FAIL, user_attrs=attributes)
        for number in range(3)
    ]
    for number, trial in enumerate(trials):
        trial.number = number
    told = StudyFacts(name, command, known, trials, ["nll"])
    info = {
        "command": command, "warnings": [reason], "marginals": columns[:2],
        "versions": {"nfopt": name, command: reason}, "scores": {"test_nll": 1.0},
    }  # fmt: skip
    delivered = Delivered([flow(0), flow(1)], [0.5, 0.5], info, Path(name or "x"))
    described = {"rows": [3, 2, 1], "context_columns": columns}
    for one in (delivered, None):
        check(html_page(Facts(name, columns, described, one, study=told, missing=reason)))


@pytest.mark.parametrize("said", HOSTILE)
def test_text_is_escaped_and_html_is_not(said: str) -> None:
    made = el("p", said, Html("<br>"), title=said)
    tags = Tags(made)
    assert tags.found == ["p", "br"]
    assert tags.words == tags.attributes["title"][0]
    assert text(text(said)) == text(text(said))
    assert "\ud800" not in made
    assert "\u202e" not in made


def test_an_empty_study_has_a_page() -> None:
    page = html_page(facts_of_study(study(table())))
    check(page)
    assert "no trial has an NLL" in page
    assert "What mattered" not in page


def test_the_page_and_status_name_the_same_best_trial() -> None:
    found = study(table())
    for minute in (3, 2, 1):  # of equal trials, the last ended first
        trial = create_trial(value=1.5, user_attrs={names.SPEC: flow(minute).to_json()})
        trial.datetime_complete = datetime(2026, 1, 1, 0, minute)
        found.add_trial(trial)
    page = html_page(facts_of_study(found))
    shown = re.findall(r'<tr><td class="int">(\d+)</td><td class="int">1.5000', page)
    told = describe(found)
    assert shown == [str(row["number"]) for row in told["best_trials"]] == ["0", "1", "2"]


def test_many_columns_and_members_stay_small() -> None:
    mask = "CT" * 128
    layers = (Coupling(mask=mask), Autoregressive(order=tuple(range(256)))) * 4
    specs = [FlowSpec(features=256, layers=layers[k:]) for k in range(6)]
    columns = [f"a column with a long name, number {k}" for k in range(256)]
    facts = Facts("wide", columns, {}, Delivered(specs, [1 / 6] * 6, {}, None))
    page = html_page(facts)
    check(page)
    assert "3 more structures, and 2 that are not drawn" in page
    assert len(page.encode()) < 5_000_000
