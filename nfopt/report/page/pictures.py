"""The sections that draw the flow: data beside samples, and the structures that were kept."""

from __future__ import annotations

from nfopt.report.figures import coverage
from nfopt.report.masks import masks_png
from nfopt.report.page.facts import Facts
from nfopt.report.page.markup import LEFT_OUT, NOTHING, Html, el, joined, picture
from nfopt.report.page.svg import chart
from nfopt.spec import FlowSpec

MOST = 4  # structures that are drawn
SECONDS = 4.0  # that samples may take, by what they cost


def samples(facts: Facts) -> Html:
    """Draw training rows beside as many samples, in the columns where it tells most."""
    if facts.flow is None or facts.data is None:
        return el("p", f"Not drawn: {facts.missing}") if facts.missing else NOTHING
    from nfopt.report import corner

    cost = None if facts.delivered is None else facts.delivered.number("sample_1000", of="costs")
    rows, seconds = corner.rows_in(facts.closing, cost, SECONDS)
    if not facts.closing.fits("the report's picture of samples", seconds):
        return LEFT_OUT
    png = corner.corner_of(
        facts.flow, facts.data, title=f"{facts.name}: data and samples", rows=rows
    )
    some = ""
    if len(facts.columns) > corner.MOST:
        some = (
            f"{corner.MOST} of {len(facts.columns)} columns: those that depend most on each other,"
            " and those whose samples differ most from the data (Kolmogorov-Smirnov). "
        )
    context = " Each sample sees the context of a row." if facts.flow.context_columns else ""
    return picture(
        png,
        "Pairs of columns, data above the diagonal and samples below it",
        f"{some}Training rows above the diagonal, samples of the flow below it; on it both as"
        f" histograms. The flow is good where both sides look the same.{context}",
    )


def structures(facts: Facts) -> Html:
    """Draw each structure that was kept once; without a delivered flow that of the best trial."""
    if facts.delivered is not None:
        members: dict[FlowSpec, list[str]] = {}
        for number, spec in enumerate(facts.delivered.specs, 1):
            members.setdefault(spec, []).append(str(number))
        several = len(facts.delivered.specs) > 1
        drawn = {
            spec: f"Member{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}" if several else ""
            for spec, numbers in members.items()
        }
    else:
        drawn = _of_best(facts)
    if not drawn:
        return NOTHING
    if not facts.closing.fits("the report's picture of the structures"):
        return LEFT_OUT
    parts = [
        el(
            "p",
            "One row a layer, from the data to the base, one column a feature: C conditions, T is"
            " transformed, I is idle. Autoregressive layers show each feature's place in the order,"
            " and below which feature depends on which.",
            class_="soft",
        )
    ]
    first, *others = [
        picture(masks_png(spec, facts.names_for(spec), title=title), f"Layers of {spec.summary()}")
        for spec, title in list(drawn.items())[:MOST]
    ]
    parts.append(first)
    if others:
        rest = f", and {len(drawn) - MOST} that are not drawn" if len(drawn) > MOST else ""
        parts.append(el("details", el("summary", f"{len(others)} more structures{rest}"), *others))
    parts.append(_coverage(facts, *next(iter(drawn.items()))))
    return joined(parts)


def _coverage(facts: Facts, spec: FlowSpec, whose: str) -> Html:
    """Draw in how many layers each column of a flow sees each other one."""
    if spec.features < 2:
        return NOTHING
    whose = f": {whose[0].lower()}{whose[1:]}" if whose else ""
    figure = coverage(
        spec, facts.names_for(spec), title=f"Layers in which a column sees another{whose}"
    )
    return el("div", chart(figure), class_="figures")


def _of_best(facts: Facts) -> dict[FlowSpec, str]:
    from nfopt.stored import flow_of

    best = None if facts.study is None else facts.study.best
    if facts.study is None or best is None:
        return {}
    spec = flow_of(facts.study.trials[best.number])
    return {} if spec is None else {spec: f"Trial {best.number}"}
