"""Tables from the rows of results, in Markdown."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from listing import MANUAL

from nfopt.autonf import front

Rows = Sequence[dict[str, Any]]
BEST = 16
PUBLISHED = ("autoregressive", "coupling")  # what stands beside the search there
BEST_MANUAL = "best of one type"


def print_tables(rows: Rows) -> None:
    """Print what there is of each experiment."""
    for title, table in (
        ("Experiment 1: planar against radial", one(rows)),
        ("Oracle: where the searches land", oracle(rows)),
        ("Experiment 2: test NLL and cost in equal processor seconds", two(rows)),
        ("Experiment 2: against flows of one type", against_manual(rows)),
        ("Experiment 2: fronts of validation NLL against cost", fronts(rows)),
    ):
        if len(table) > 2:
            print(f"\n### {title}\n\n" + "\n".join(table))


def spread(values: Sequence[float]) -> str:
    """Mean, and twice the standard error where there are several."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:.3f}"
    return f"{mean:.3f} ± {2 * statistics.stdev(values) / len(values) ** 0.5:.3f}"


def one(rows: Rows) -> list[str]:
    """Weights of planar at the end, how far inside they are, and the binarised flow."""
    table = [
        "| data | objective | seeds | planar's weights | least certain layer | argmax, test NLL |",
        "|---|---|---|---|---|---|",
    ]
    for (data, what), some in grouped(rows, "one", "data", "what"):
        weights = "; ".join("/".join(f"{w:.2f}" for w in row["weights"]) for row in some)
        least = min(max(w, 1 - w) for row in some for w in row["weights"])
        test = spread([row["test_nll"] for row in some])
        table.append(f"| {data} | {what} | {len(some)} | {weights} | {least:.3f} | {test} |")
    return table


def oracle(rows: Rows) -> list[str]:
    """Rank and regret of each search among all flows, by mean validation NLL over seeds."""
    table = [
        "| data | flows | best to worst | seed sd | method | ranks | regrets | met | cost of all |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (data,), some in grouped(rows, "oracle", "data"):
        means = oracle_means(some)
        order = sorted(means, key=means.__getitem__)
        spreads = [
            statistics.stdev([r["validation_nll"] for r in each])
            for _, each in grouped(some, "oracle", "what")
            if len(each) > 1
        ]
        sd = statistics.median(spreads) if spreads else float("nan")
        for (name, what), found in grouped(rows, "oracle-search", "data", "what"):
            if name != data:
                continue
            chosen = ["".join(map(str, row["path"])) for row in found]
            ranks = [order.index(path) + 1 for path in chosen if path in means]
            regrets = [means[path] - means[order[0]] for path in chosen if path in means]
            met = sum(r <= 3 or g < 2 * sd for r, g in zip(ranks, regrets, strict=True))
            share = spread([row["share_of_all"] for row in found])
            table.append(
                f"| {data} | {len(means)} | {means[order[0]]:.3f} to {means[order[-1]]:.3f} |"
                f" {sd:.3f} | {what} | {', '.join(map(str, ranks))} |"
                f" {', '.join(f'{g:.3f}' for g in regrets)} | {met} of {len(ranks)} | {share} |"
            )
    return table


def two(rows: Rows) -> list[str]:
    """Test NLL and relative cost by method, at the table's price."""
    table = [
        "| data | emphasis | method | seeds | test NLL | cost | parameters | search, s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (data, emphasis, what), some in compared(rows).items():
        cells = (
            spread([row["test_nll"] for row in some]),
            spread([row["cost"][emphasis] for row in some]),
            f"{statistics.fmean(row['parameters'] for row in some):,.0f}",
            f"{statistics.fmean(row['search_seconds'] for row in some):.0f}",
        )
        table.append(f"| {data} | {emphasis} | {what} | {len(some)} | {' | '.join(cells)} |")
    return table


def against_manual(rows: Rows) -> list[str]:
    """Each search against flows of one type, seed by seed: the two of splines, and the best of all.

    The best is that of the least validation NLL. Published beside the search are, as manual flows,
    the autoregressive one where training is emphasised and the coupling one where the inverse is.
    """
    table = [
        "| data | emphasis | method | against | test NLL, difference | cost | better and cheaper |",
        "|---|---|---|---|---|---|---|",
    ]
    found = compared(rows)
    for (data, emphasis, what), some in found.items():
        for kind in () if what in MANUAL else (*PUBLISHED, BEST_MANUAL):
            kinds = MANUAL if kind == BEST_MANUAL else (kind,)
            rivals = [row for one in kinds for row in found.get((data, emphasis, one), [])]
            rivals.sort(key=lambda row: -row["validation_nll"])
            other = {row["seed"]: row for row in rivals}  # the last of a seed stays
            pairs = [(row, other[row["seed"]]) for row in some if row["seed"] in other]
            if not pairs:
                continue
            nlls = [row["test_nll"] - rival["test_nll"] for row, rival in pairs]
            cost, dear = (
                statistics.fmean(pair[k]["cost"][emphasis] for pair in pairs) for k in (0, 1)
            )
            both = statistics.fmean(nlls) < 0 and cost < dear
            table.append(
                f"| {data} | {emphasis} | {what} | {kind} | {spread(nlls)} |"
                f" {cost:.2f} of {dear:.2f} | {'yes' if both else 'no'} |"
            )
    return table


def compared(rows: Rows) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    """Experiment two's rows by data, emphasis and method; a manual flow has no emphasis."""
    rows = [row for row in rows if row["experiment"] == "two"]
    prices = [row["price"] for row in rows if row["what"] == "block"]
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for data in dict.fromkeys(row["data"] for row in rows):
        for emphasis in ("train", "inverse"):
            for row in rows:
                asked = row["price"] in prices or row["what"] == "target"
                asked = asked and row["emphasis"] == emphasis
                if row["data"] == data and (asked or row["what"] in MANUAL):
                    found.setdefault((data, emphasis, row["what"]), []).append(row)
    return found


def fronts(rows: Rows) -> list[str]:
    """What Grow finds at several prices, and which of it no other beats."""
    table = [
        "| data | emphasis | price | cost | validation NLL | on the front |",
        "|---|---|---|---|---|---|",
    ]
    for (data, emphasis), points in swept(rows).items():
        kept = front([(cost, nll) for _, cost, nll in points])
        for k, (price, cost, nll) in enumerate(points):
            on = "yes" if k in kept else ""
            table.append(f"| {data} | {emphasis} | {price:g} | {cost:.2f} | {nll:.3f} | {on} |")
    return table


def swept(rows: Rows) -> dict[tuple[str, ...], list[tuple[float, float, float]]]:
    """Price, cost and validation NLL of what Grow finds, by data and emphasis."""
    found = {}
    for key, some in grouped(rows, "two", "data", "emphasis"):
        points = [
            (row["price"], row["cost"][row["emphasis"]], row["validation_nll"])
            for row in some
            if row["what"] == "grow" and row["seed"] == 0
        ]
        if len(points) > 1:
            found[key] = sorted(points)
    return found


def best_of_oracle(rows: Rows, data: str, flows: int, seeds: int) -> list[str]:
    """The best flows of a table by their first seeds; none until all flows have had them."""
    first = [
        row
        for row in rows
        if row["experiment"] == "oracle" and row["data"] == data and row["seed"] < seeds
    ]
    if len(first) < flows * seeds:
        return []
    means = oracle_means(first)
    return sorted(means, key=means.__getitem__)[:BEST]


def oracle_means(rows: Rows) -> dict[str, float]:
    """Mean validation NLL of each flow over its seeds."""
    found: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        found[row["what"]].append(row["validation_nll"])
    return {path: statistics.fmean(values) for path, values in found.items()}


def grouped(rows: Rows, experiment: str, *keys: str) -> list[tuple[tuple[str, ...], Rows]]:
    """Group an experiment's rows by some of their fields, in the order of their first."""
    found: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        if row["experiment"] == experiment:
            found.setdefault(tuple(row[key] for key in keys), []).append(row)
    return list(found.items())
