"""A simulated person on a dataset whose truth is known."""

from typing import Annotated

import typer

from trainer.cli.command import command, connect
from trainer.simulate.options import AUTO, Options, Person, image_count, numbers, predicted_values, words
from trainer.terminal.display import Display
from trainer.terminal.watch import require_worker


@command
def simulate(
    name: Annotated[str, typer.Argument(help="The dataset's folder, as `make simulate` put it in place.")],
    orders: Annotated[str, typer.Option(help="Which images come first.")] = "uncertainty,random",
    seeds: Annotated[str, typer.Option(help="One project an order and seed.")] = "0,1,2",
    schedule: Annotated[
        str, typer.Option(help="Labelled images at which a round trains; auto: as the appliance does.")
    ] = AUTO,
    budget: Annotated[int, typer.Option(min=0, help="Labelled images at most; 0: all.")] = 0,
    one_round: Annotated[int, typer.Option(min=1, help="Labels of the single round compared with.")] = 40,
    predicted: Annotated[
        list[str] | None, typer.Option(help="LABEL=CLASS,CLASS of the starting model; repeatable.")
    ] = None,
    costs: Annotated[
        str | None, typer.Option(help="The table by which the person decides: quick or careful.")
    ] = None,
    draw: Annotated[float | None, typer.Option(help="Seconds to draw a box, not the table's.")] = None,
    adjust: Annotated[float | None, typer.Option(help="Seconds to adjust a box.")] = None,
    delete: Annotated[float | None, typer.Option(help="Seconds to delete a box.")] = None,
    accept: Annotated[float | None, typer.Option(help="Seconds to look at a good box.")] = None,
    relabel: Annotated[float | None, typer.Option(help="Seconds to relabel a box.")] = None,
    click: Annotated[float | None, typer.Option(help="Seconds to click on an object.")] = None,
    glance: Annotated[float | None, typer.Option(help="Seconds to look at a crop to verify.")] = None,
    mark: Annotated[float | None, typer.Option(help="Seconds to mark a crop as wrong.")] = None,
    page: Annotated[float | None, typer.Option(help="Seconds for a page of crops beside these.")] = None,
    clicks: Annotated[int, typer.Option(min=0, help="Clicks on an object at most; 0: draw.")] = Person.clicks,
    at_once: Annotated[
        str, typer.Option(help="Images on which what is learnt at once is played; 0, or all.")
    ] = "40",
    verify: Annotated[int, typer.Option(min=0, max=1, help="Whether the page Verify is played.")] = 1,
    accepted_iou: Annotated[float, typer.Option(help="A box is good from here on.")] = Person.accepted_iou,
    adjusted_iou: Annotated[float, typer.Option(help="And worth adjusting.")] = Person.adjusted_iou,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the projects in Label Studio.")] = False,
) -> None:
    """Measure what the loop saves a person, on a COCO dataset whose truth is known."""
    from trainer.simulate.command import simulate as run
    from trainer.simulate.patience import PatientBackend, PatientStudio
    from trainer.simulate.run import World

    loop = connect()
    person = Person.of(
        costs or loop.settings.costs,
        draw=draw,
        adjust=adjust,
        delete=delete,
        accept=accept,
        relabel=relabel,
        click=click,
        glance=glance,
        mark=mark,
        page=page,
        clicks=clicks,
        accepted_iou=accepted_iou,
        adjusted_iou=adjusted_iou,
    )
    options = Options(
        name=name,
        orders=words(orders),
        seeds=numbers(seeds, "SEEDS"),
        schedule=words(schedule),
        budget=budget,
        one_round_at=one_round,
        predicted=predicted_values(predicted or []),
        costs=person,
        at_once=image_count(at_once, "AT_ONCE"),
        verify=bool(verify),
        keep=keep,
    )
    require_worker(loop.settings.rounds_dir)
    with Display() as display:
        studio = PatientStudio.of(loop.settings, display.say)
        backend = PatientBackend.of(loop.settings, display.say)
        run(World(loop.settings, studio, backend, display), options)
