"""The report as one HTML file that needs nothing else: no script, no library, no font, no network.

It is the list of `SECTIONS`, each a function from facts to HTML; what has nothing to tell is left
out. A new section is a function and a line here.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files

from nfopt.report.page.base_space import base_space
from nfopt.report.page.calibration import calibration
from nfopt.report.page.citation import citation
from nfopt.report.page.delivered import delivered
from nfopt.report.page.facts import Facts
from nfopt.report.page.markup import Html, el
from nfopt.report.page.pictures import samples, structures
from nfopt.report.page.search import course, trials, what_mattered

Section = Callable[[Facts], Html]

SECTIONS: tuple[tuple[str, Section], ...] = (
    ("What was delivered", delivered),
    ("Data beside samples", samples),
    ("The fit in base space", base_space),
    ("Calibration", calibration),
    ("The structures", structures),
    ("The search", course),
    ("What mattered", what_mattered),
    ("Trials", trials),
    ("For a paper", citation),
)

# Sections that take time, what takes least of it first: they are written last.
DEAR: tuple[Section, ...] = (base_space, structures, samples, calibration)

FAILED = "This part can't be shown"
# Nothing is fetched or run, whatever names from data contain.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def html_page(facts: Facts) -> str:
    """Write a page; all text from data and storage is escaped."""
    # what may not fit into the time of a call comes after what does in any case
    order = sorted(SECTIONS, key=lambda one: DEAR.index(one[1]) if one[1] in DEAR else -1)
    told = {title: _told(section, facts) for title, section in order}
    drawn = [(title, told[title]) for title, _ in SECTIONS if told[title]]
    name = facts.name if facts.study is None else f"Study {facts.study.name}"
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=POLICY),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", name),
        el("style", Html(files(__package__).joinpath("style.css").read_text(encoding="utf-8"))),
    )
    links = el("nav", *(el("a", title, href=f"#{_anchor(title)}") for title, _ in drawn))
    sections = (
        el("section", el("h2", title), inside, id=_anchor(title)) for title, inside in drawn
    )
    body = el("body", el("h1", name), links, *sections)
    return f"<!doctype html>\n{el('html', head, body, lang='en')}\n"


def _told(section: Section, facts: Facts) -> Html:
    """Write a section; one that fails says so in its place, and the others stay."""
    try:
        return section(facts)
    except Exception as error:  # noqa: BLE001 - whatever it is, the rest of the page is of use
        reason = " ".join(str(error).split())[:200]
        return el("p", f"{FAILED} ({type(error).__name__}: {reason}).", class_="warning")


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")
