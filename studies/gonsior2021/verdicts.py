"""Tables and verdicts from the rows of results, in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from claims import MIXING, Length, Sets
from inference import (
    DRAWS,
    UNDECIDED,
    Comparison,
    Sample,
    compare,
    compared,
    margin,
    pooled,
    resampled,
    signs,
    smallest,
    steps_to,
    verdicts,
)

Row = Mapping[str, Any]
Rows = Sequence[Row]

DESIGNS = ("parity", "halves", "binary_code", "dependence", "permuted_halves", "random", "evolved")
RIVALS = ("parity", "dependence", "random")
METHODS = ("full", "width", "m", "m_random", "evolved")
STEP_MARGIN = 0.05
"""Share of a training's steps that counts as no difference in convergence."""
SIZE_MARGIN = 0.05
"""Share of the parameters that counts as no difference in size."""
NAMES = {"plain": "without linear mixing", "mixed": "with permutation + LU"}


def tables(rows: Rows, length: Length, sets: Sets) -> str:
    """Everything that there is results for."""
    claimed = (*sets.claims, *sets.controls)
    parts = ["# Tables", "", "Written by `run.py --tables`. NLL in nats a row, lower is better."]
    summary: list[tuple[str, str, dict[str, str]]] = []
    for mixing in MIXING:
        title = NAMES[mixing]
        some = [r for r in rows if r["kind"] == "couplings" and r["mixing"] == mixing]
        for heading, (lines, said) in (
            (f"Claim 3, {title}: test NLL at equal size", equal_size(some, sets)),
            (f"Claim 1, {title}: steps to parity's NLL", convergence(some, sets, length)),
            (f"Claim 2, {title}: smallest flow", small(rows, mixing, sets)),
        ):
            if lines:
                parts += ["", f"## {heading}", "", *lines]
                summary.append((heading.split(",")[0], title, said))
    for count in sorted({r["rows"] for r in rows if r["kind"] == "graphs"}, key=lambda n: n or 1e9):
        some = [r for r in rows if r["kind"] == "graphs" and r["rows"] == count]
        name = f"{count:,} rows" if count else "all rows"
        lines, said = adjacency(some, (*sets.graphs, *sets.known), sets)
        parts += ["", f"## Claim 4, {name}: who may depend on whom", "", *lines]
        summary.append(("Claim 4", name, said))
    return "\n".join([*parts[:3], "", *_summary(summary, claimed, sets), *parts[3:]])


def _summary(
    said: Sequence[tuple[str, str, Mapping[str, str]]], claimed: Sequence[str], sets: Sets
) -> list[str]:
    names = list(dict.fromkeys([*claimed, *sets.graphs]))
    lines = [
        "## Verdicts",
        "",
        "Of the evolved flow: 1 fewer steps than parity, 2 fewer parameters than parity's smallest,"
        " 3 better than parity at equal size, 4 better than the width-tuned full flow; each by more"
        " than the margin, Holm over data sets. A star: one search seed so far. Controls:"
        f" {', '.join(sets.controls) or 'none'}.",
        "",
        f"| claim | | {' | '.join(names)} |",
        "|---|---|" + "---|" * len(names),
    ]
    for claim, where, found in sorted(said, key=lambda one: one[0]):
        cells = [found.get(name, "") for name in names]
        lines.append(f"| {claim} | {where} | {' | '.join(cells)} |")
    return lines


# ------------------------------------------------------------------------------------- claims 1, 3


def entries(rows: Rows, data: str, design: str) -> list[tuple[Row, Row]]:
    """Rows and their entries of a design, by search seed."""
    found = [
        (row, entry)
        for row in rows
        if row["data"] == data
        for entry in row["entries"]
        if entry["design"] == design
    ]
    return sorted(found, key=lambda pair: pair[0]["seed"])


def sample(rows: Rows, data: str, design: str) -> Sample:
    """Test NLL of a design: an array (trainings, blocks) a search seed."""
    return [_tests(entry) for _, entry in entries(rows, data, design)]


def _tests(entry: Row) -> np.ndarray:
    return np.array([final["test"] for final in entry["finals"]], dtype=float)


def equal_size(rows: Rows, sets: Sets) -> tuple[list[str], dict[str, str]]:
    """Test NLL of every design, and the evolved flow against its rivals."""
    have = [n for n in (*sets.claims, *sets.controls) if any(row["data"] == n for row in rows)]
    if not have:
        return [], {}
    lines = _nlls(rows, have, DESIGNS)
    said: dict[str, str] = {}
    for rival in RIVALS:
        found = _compared(rows, have, "evolved", rival)
        lines += _against("evolved", rival, found, sets.controls)
        lines += _pooled(rows, sets.claims, "evolved", rival)
        if rival == "parity":
            said = _marked(found, sets.controls)
    return lines, said


def _nlls(rows: Rows, names: Sequence[str], designs: Sequence[str]) -> list[str]:
    head = " | ".join(designs)
    lines = [f"| data | parameters | {head} |", "|---|---|" + "---|" * len(designs)]
    for name in names:
        cells, sizes = [], []
        for design in designs:
            found = [_tests(entry).mean(axis=1) for _, entry in entries(rows, name, design)]
            sizes += [entry["parameters"] for _, entry in entries(rows, name, design)]
            cells.append(_spread(np.concatenate(found)) if found else "")
        size = f"{min(sizes):,.0f} to {max(sizes):,.0f}" if sizes else ""
        lines.append(f"| {name} | {size} | {' | '.join(cells)} |")
    return [*lines, "", "Mean and standard deviation over trainings from fresh seeds."]


def _spread(values: Iterable[float]) -> str:
    every = [float(value) for value in values]
    sd = statistics.stdev(every) if len(every) > 1 else float("nan")
    return f"{statistics.fmean(every):.3f} ({sd:.3f})"


def _compared(rows: Rows, names: Sequence[str], first: str, second: str) -> dict[str, Comparison]:
    found = {}
    for name in names:
        one, other = sample(rows, name, first), sample(rows, name, second)
        if one and other:
            features = next(row["features"] for row in rows if row["data"] == name)
            found[name] = compare(one, other, margin(features))
    return found


def _pooled(rows: Rows, names: Sequence[str], first: str, second: str) -> list[str]:
    """A line on all data sets that count, pooled; none where there are fewer than two."""
    pairs = []
    for name in names:
        one, other = sample(rows, name, first), sample(rows, name, second)
        if one and other:
            features = next(row["features"] for row in rows if row["data"] == name)
            pairs.append((one, other, margin(features)))
    if len(pairs) < 2:
        return []
    whole = pooled(pairs)
    return [
        "",
        f"Pooled over {whole.sets} data sets, each in units of its margin:"
        f" {whole.difference:+.2f} margins (two standard errors {whole.two_se:.2f},"
        f" 95% {whole.low:+.2f} to {whole.high:+.2f}), better in the mean on {whole.better};"
        f" p of no better {whole.above:.4f}.",
    ]


def _against(
    first: str, second: str, found: Mapping[str, Comparison], apart: Sequence[str] = ()
) -> list[str]:
    if not found:
        return []
    words, said = _families(signs, found, apart), _marked(found, apart)
    lines = [
        "",
        f"{first} less {second}:",
        "",
        "| data | difference | 95% | margin | | better by more than the margin |",
        "|---|---|---|---|---|---|",
    ]
    for name, one in found.items():
        lines.append(
            f"| {name} | {one.difference:+.3f} | {one.low:+.3f} to {one.high:+.3f} |"
            f" {one.margin:.3f} | {words[name]} | {said[name]} |"
        )
    return lines


def _marked(found: Mapping[str, Comparison], apart: Sequence[str] = ()) -> dict[str, str]:
    """Verdicts; starred where there is one search seed only."""
    said = _families(verdicts, found, apart)
    return {name: f"{text}{'*' * (found[name].searches < 2)}" for name, text in said.items()}


def _families(
    judge: Callable[[Mapping[str, Comparison]], dict[str, str]],
    found: Mapping[str, Comparison],
    apart: Sequence[str],
) -> dict[str, str]:
    """Judge those that count together, for Holm's correction, and the controls apart."""
    said = judge({name: one for name, one in found.items() if name not in apart})
    return said | judge({name: one for name, one in found.items() if name in apart})


def convergence(rows: Rows, sets: Sets, length: Length) -> tuple[list[str], dict[str, str]]:
    """Steps until the validation NLL is parity's final one, and what the search cost."""
    most = length.couplings.schedule.steps
    lines, found = [], {}
    for name in (*sets.claims, *sets.controls):
        reference = entries(rows, name, "parity")
        if not reference:
            continue
        finals = reference[0][1]["finals"]
        target = statistics.fmean(final["nll"] for final in finals)
        step = statistics.fmean(final["cpu"] for final in finals) / most
        steps = {
            design: [_steps(entry, target, most) for _, entry in entries(rows, name, design)]
            for design in DESIGNS
        }
        cells = [
            f"{np.concatenate(each).mean():.0f} ({np.concatenate(each).mean() * step:.2f} s)"
            f"{_never(each, most)}"
            if each
            else ""
            for each in steps.values()
        ]
        searched = [row["search_cpu"] for row, _ in entries(rows, name, "evolved")]
        back = ""
        if steps["evolved"]:
            one = compare(steps["evolved"], steps["parity"], STEP_MARGIN * most)
            found[name] = one
            cost = statistics.fmean(searched)
            saved = -one.difference * step
            back = f"{cost:.0f} s, " + (f"{cost / saved:.0f} retrains" if saved > 0 else "never")
        lines.append(f"| {name} | {' | '.join(cells)} | {back} |")
    if not lines:
        return [], {}
    head = [
        f"| data | {' | '.join(DESIGNS)} | the search, paid back after |",
        "|---|" + "---|" * (len(DESIGNS) + 1),
    ]
    about = [
        "",
        f"Mean steps (processor seconds) of {most:,}; trainings that never got there count as"
        " that many, their number in square brackets.",
    ]
    against = _against("evolved", "parity", found, sets.controls)
    return [*head, *lines, *about, *against], _marked(found, sets.controls)


def _steps(entry: Row, target: float, most: int) -> np.ndarray:
    return np.array([[steps_to(final["curve"], target, most)] for final in entry["finals"]])


def _never(each: Sequence[np.ndarray], most: int) -> str:
    number = int(sum((part >= most).sum() for part in each))
    return f" [{number}]" if number else ""


# ---------------------------------------------------------------------------------------- claim 2


def small(rows: Rows, mixing: str, sets: Sets) -> tuple[list[str], dict[str, str]]:
    """The smallest flow of each design that is not worse than parity at the reference size."""
    here = [r for r in rows if r.get("mixing") == mixing]
    sized = [row for row in here if row["kind"] == "smaller"]
    lines, found = [], {}
    for name in sets.claims:
        features = [row["features"] for row in sized if row["data"] == name]
        reference = entries([r for r in here if r["kind"] == "couplings"], name, "parity")
        if not features or not reference:
            continue
        parity, draws = reference[0][1], {}
        cells = []
        for design in DESIGNS:
            each = _sizes(here, name, design)
            draws[design] = _size_draws(each, parity, margin(features[0])) if each else None
            cells.append("" if not each else _least(draws[design], parity["parameters"]))
        lines.append(f"| {name} | {parity['parameters']:,.0f} | {' | '.join(cells)} |")
        if draws["evolved"] is not None and draws["parity"] is not None:
            ratio = np.log(draws["evolved"]) - np.log(draws["parity"])
            middle = float(np.median(ratio))
            searches = len(_sizes(here, name, "evolved"))
            found[name] = compared(middle, ratio, -float(np.log(1 - SIZE_MARGIN)), searches)
    if not lines:
        return [], {}
    head = [
        f"| data | reference | {' | '.join(DESIGNS)} |",
        "|---|---|" + "---|" * len(DESIGNS),
    ]
    about = [
        "",
        "Parameters of the smallest flow whose test NLL is within the margin of parity's at the"
        " reference size: median of the draws; a dash where even the greatest size is not in most"
        " draws. `evolved` has its masks cut to fewer layers, and those with `I` letters.",
    ]
    ratios = _against("log parameters of evolved", "parity", found)
    return [*head, *lines, *about, *ratios], _marked(found)


def _sizes(rows: Rows, name: str, design: str) -> list[list[Row]]:
    """The sizes that there are of a design, by search seed, the reference size included."""
    wanted = {design, "evolved_idle"} if design == "evolved" else {design}
    seeds: dict[int, list[Row]] = {}
    for row in rows:
        if row["data"] == name:
            mine = [entry for entry in row["entries"] if entry["design"] in wanted]
            if mine:
                seeds.setdefault(row["seed"], []).extend(mine)
    whole = [each for _, each in sorted(seeds.items())]
    return [each for each in whole if len(each) > 1]  # the reference alone says nothing


def _size_draws(seeds: list[list[Row]], parity: Row, limit: float) -> np.ndarray:
    """Draws of the smallest size: geometric mean over search seeds that are drawn too."""
    rng = np.random.default_rng(21)
    reference = _tests(parity)
    blocks = reference.shape[1]
    shares = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=DRAWS) / blocks
    allowed = ((resampled([reference], DRAWS, rng) @ reference) * shares).sum(axis=1) + limit
    logs = []
    for entries_of in seeds:
        means = [
            ((resampled([_tests(e)], DRAWS, rng) @ _tests(e)) * shares).sum(axis=1)
            for e in entries_of
        ]
        least = smallest([e["parameters"] for e in entries_of], np.stack(means, axis=1), allowed)
        logs.append(np.log(np.minimum(least, 2 * parity["parameters"])))
    times = rng.multinomial(len(seeds), np.full(len(seeds), 1 / len(seeds)), size=DRAWS)
    return np.asarray(np.exp((times * np.stack(logs, axis=1)).sum(axis=1) / len(seeds)))


def _least(draws: np.ndarray | None, reference: float) -> str:
    if draws is None:
        return ""
    middle = float(np.median(draws))
    return "-" if middle >= 1.9 * reference else f"{middle:,.0f}"


# ---------------------------------------------------------------------------------------- claim 4


def adjacency(rows: Rows, names: Sequence[str], sets: Sets) -> tuple[list[str], dict[str, str]]:
    """Test NLL, parameters and edges of each method, and the searched adjacency against others."""
    have = [name for name in names if any(row["data"] == name for row in rows)]
    lines = _nlls(rows, have, METHODS)
    lines += [
        "",
        "| data | what was chosen: m | width | evolved: edges of all, width | parameters of"
        " evolved / full | seconds: m, evolved |",
        "|---|---|---|---|---|---|",
    ]
    for name in have:
        by = {m: [row for row, _ in entries(rows, name, m)] for m in METHODS}
        if not by["evolved"] or not by["full"]:
            continue
        most = by["full"][0]["edges"]
        size = by["full"][0]["entries"][0]["parameters"]
        evolved = "; ".join(
            f"{row['edges']} of {most}, {row['width']} ({row['label']})" for row in by["evolved"]
        )
        share = ", ".join(f"{row['entries'][0]['parameters'] / size:.2f}" for row in by["evolved"])
        spent = ", ".join(f"{row['search_cpu']:.0f}" for row in (*by["m"], *by["evolved"]))
        cells = [by[m][0]["label"] if by[m] else "" for m in ("m", "width")]
        lines.append(f"| {name} | {' | '.join(cells)} | {evolved} | {share} | {spent} |")
    said: dict[str, str] = {}
    real = [name for name in have if name in sets.graphs]
    for rival in ("width", "m", "full"):
        found = _compared(rows, real, "evolved", rival)
        lines += _against("evolved", rival, found)
        if rival == "width":
            said = _marked(found)
    known = [row for row in rows if "f1" in row]
    if known:
        lines += [
            "",
            "Pairs of features joined, F1 against the graph that the rows are drawn from:",
        ]
        lines += ["", "| data | method | F1 |", "|---|---|---|"]
        lines += [f"| {row['data']} | {row['what']} | {row['f1']:.2f} |" for row in known]
    return lines, said or dict.fromkeys(real, UNDECIDED if len(rows) == 0 else "")
