"""``nfopt autonf``: the differentiable search over layer types."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from nfopt.cli import options as o
from nfopt.cli import results
from nfopt.cli.failures import resumable, say, warn
from nfopt.cli.groups import AS_IT_IS, TableOptions, grouped
from nfopt.cli.output import check_folder
from nfopt.cli.progress import showing
from nfopt.cli.reading import one_of, whole, words, wrong

if TYPE_CHECKING:
    from nfopt.runner.autonf.setup import Setup

COSTS = (
    "train",
    "log_prob",
    "inverse",
    "train_multiply_adds",
    "inverse_multiply_adds",
    "parameters",
)
PANEL = "Differentiable search"

Estimator = Literal["exact", "sampled"] | None
Method = Literal["gradient", "halving"]


@dataclass(frozen=True)
class Searched:
    """What each layer may be, how it is searched, and what it costs."""

    options: Annotated[
        str,
        typer.Option(
            metavar="A,B,...",
            help="What each layer may be: planar, radial, affine-autoregressive, "
            "spline-autoregressive, affine-coupling, spline-coupling, identity; or simple (the "
            "first two) and types (the next four).",
            rich_help_panel=PANEL,
        ),
    ] = "types,identity"
    layers: Annotated[
        int,
        typer.Option(
            parser=whole("layers", 1),
            metavar="N",
            help="Layers at most.",
            rich_help_panel=PANEL,
        ),
    ] = 6
    block: Annotated[
        int | None,
        typer.Option(
            parser=whole("block", 1),
            metavar="N",
            help="Layers that are searched at a time. Without it: each search's own choice.",
            rich_help_panel=PANEL,
        ),
    ] = None
    estimator: Annotated[
        str | None,
        typer.Option(
            parser=one_of("estimator", "exact", "sampled"),
            metavar="exact|sampled",
            help="All paths through a block, or a few drawn ones. Without it: each search's own"
            " choice.",
            rich_help_panel=PANEL,
        ),
    ] = None
    method: Annotated[
        str,
        typer.Option(
            parser=one_of("method", "gradient", "halving"),
            metavar="gradient|halving",
            help="halving races random architectures instead.",
            rich_help_panel=PANEL,
        ),
    ] = "gradient"
    cost: Annotated[
        str | None,
        typer.Option(
            parser=one_of("cost", *COSTS),
            metavar="|".join(COSTS),
            help="What counts as a layer's cost: seconds measured here, or counted. Without it: "
            "nothing.",
            rich_help_panel=PANEL,
        ),
    ] = None
    price: Annotated[
        str | None,
        typer.Option(
            metavar="NATS,...",
            help="Nats a row that a unit of cost is worth; the cheapest layer costs 1. Several "
            "give a search each, and the front of NLL against cost.",
            rich_help_panel=PANEL,
        ),
    ] = None
    target_cost: Annotated[
        str | None,
        typer.Option(
            metavar="X",
            help="Cost of the whole flow at most, instead of a price.",
            rich_help_panel=PANEL,
        ),
    ] = None

    def setup(self) -> Setup:
        """Give what `run_autonf` takes, with costs as they are measured here.

        Raises:
            typer.BadParameter: If a price or a target is no number.
        """
        from nfopt.autonf import CostTable, default_place
        from nfopt.runner.autonf.setup import Setup

        given = words(self.price, "price") if self.price else []
        prices = [_number("price", text) for text in given]
        target = self.target_cost
        return Setup(
            options=self.options,
            places=self.layers,
            block=self.block,
            estimator=cast(Estimator, self.estimator),
            method=cast(Method, self.method),
            cost=self.cost,
            price=prices[0] if len(prices) == 1 else tuple(prices) or None,
            target_cost=None if target is None else _number("target-cost", target),
            table=CostTable(default_place()),
        )


TYPES = Searched()


@grouped
def autonf(
    data: o.DataArgument,
    minutes: o.Minutes = None,
    trials: Annotated[
        int,
        typer.Option(
            parser=whole("trials", 1),
            metavar="N",
            help="Searches that the study shall have in all, each with settings of its own.",
            rich_help_panel=PANEL,
        ),
    ] = 1,
    what: Searched = TYPES,
    study: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the study; the same name goes on with it. Without it: the data's name "
            "with -autonf.",
            rich_help_panel=PANEL,
        ),
    ] = None,
    storage: o.Storage = None,
    initial: Annotated[
        str | None,
        typer.Option(
            metavar="STUDY[/N]|SPEC.json",
            help="Begin with the best trial of a study, also one of nfopt search, with its trial N,"
            " or with a flow: a FlowSpec as JSON, or a saved flow's flow.json.",
            rich_help_panel=PANEL,
        ),
    ] = None,
    out: o.Out = None,
    seed: o.Seed = 0,
    device: o.Device = None,
    threads: o.Threads = None,
    artifacts: o.Artifacts = None,
    pictures: o.Pictures = True,
    as_json: o.Json = False,
    table: TableOptions = AS_IT_IS,
) -> None:
    """Search the types of a flow's layers by gradient, and save the best flow.

    Every type of every layer has a weight, and the weights follow the gradient of the expected NLL.
    The most likely flows race, each trained alone; the winner is retrained with a fresh seed and
    scored once on test rows. Without --minutes it takes 10.
    """
    from_data = table.read()
    how = "Interrupted: the search is kept; the same command goes on with it."
    with resumable(lambda: how):
        check_folder(out)
        import time

        from nfopt.model.arguments import check_device
        from nfopt.report.hooks import publishing, reported
        from nfopt.runner.autonf.run import run_autonf
        from nfopt.runner.worker import threads_of
        from nfopt.storage.url import mask_text
        from nfopt.study.arguments import check_minutes
        from nfopt.study.calls import command_line
        from nfopt.study.dataset import read

        began = time.monotonic()
        check_minutes(minutes)
        setup, found_device = what.setup(), check_device(device)
        with (
            showing() as show,
            threads_of(threads),
            publishing(show, storage, pictures) as tell,
        ):
            source = read(data, seed=seed, on_warning=warn, **from_data)
            result = reported(
                run_autonf(
                    source,
                    setup,
                    minutes=minutes,
                    trials=trials,
                    study=study,
                    storage=storage,
                    initial=initial,
                    seed=seed,
                    device=found_device,
                    artifacts=artifacts,
                    out=out,
                    on_event=tell,
                    began=began,
                    command=mask_text(command_line() or "", storage),
                ),
                tell,
            )
    if as_json:
        results.print_json(result.to_dict())
        return
    results.show_retrain(result)
    if len(result.front) > 1:
        for point in result.front:
            said = f"cost {point['cost']:.2f}: validation NLL {point['nll']:.4f} in the race"
            say(f"front: {said} (search {point['number']})")


def _number(option: str, text: str) -> float:
    """Read a number of at least 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise wrong(option, f"must be a number of at least 0, got {text!r}")
    return number
