"""The demo's steps, each announced in a line. A demo that is started again goes on where it stopped."""

import time
from dataclasses import dataclass

from labelloop.registry import STARTING_VERSION, ProjectModels
from labelloop.task_filters import LABELLED
from trainer.demo.project import TITLE, DemoProject, find, open_project, to_be_deleted
from trainer.judging.effort import TABLES, Costs, Work
from trainer.rounds.table import State
from trainer.simulate.annotator import correct
from trainer.simulate.errors import SimulationError
from trainer.simulate.options import Person
from trainer.simulate.run import ROUND_OVER, World, remove
from trainer.terminal.watch import WorkerGone, follow_predictions, follow_round, require_worker
from trainer.words import duration, plural
from trainer.worker.adoption import adopt

IMAGES = 60
FIRST_SHARE, LEFT_SHARE = 0.5, 0.2
START_WAIT_S = 300.0
POLL_S = 0.5


@dataclass(frozen=True)
class Places:
    """The addresses of Label Studio and the dashboard for a browser."""

    studio: str
    dashboard: str


def demo(world: World, places: Places, images: int = IMAGES) -> None:
    """Imports, pre-labels, labels, trains a round and pre-labels again. The last fifth of the images is left
    for the person to label.

    Raises:
        SimulationError: a round failed, or none was promoted. StudioError: Label Studio does not answer.
        WorkerGone: the worker does not run.
    """
    say, began = world.display.say, time.monotonic()
    require_worker(world.settings.rounds_dir)
    project = open_project(world.studio, images)
    number, total = project.labelling.id, project.images
    say(
        f"1. Images. Project {number}, {TITLE}, has {total} pictures of nuts, washers and bolts.\n"
        "   You would drop yours into volumes/images."
        + ("" if project.made else " It was there already; this goes on with it.")
    )
    models = world.registry.project(number)
    _pre_label_first(world, number, models)
    first = round(total * FIRST_SHARE)
    last = total - max(1, round(total * LEFT_SHARE))
    _label(world, project, first, "3. Labels.", "You would drag each box in the browser and press Submit.")
    promoted = _round(world, number, models, "4. A round.")
    _label(
        world,
        project,
        last,
        "5. The next labels.",
        "You would find most boxes there and only mend the others." if promoted else "Still by hand.",
    )
    if not promoted and not _round(world, number, models, "   Another round, on more labels."):
        raise SimulationError(
            f"no round of project {number} was promoted; the dashboard says why: "
            f"{places.dashboard}/rounds?project={number}"
        )
    _say_rest(world, places, number, project.labelling.unlabelled())
    say(f"The demo took {duration(time.monotonic() - began)}.")


def remove_demo(world: World) -> None:
    """Deletes the demo's project, versions and rounds, and says where Label Studio leaves the pictures.

    The pictures stay because the trainer may not write to the uploads. Without a demo, this does nothing.
    """
    project = find(world.studio)
    if project is None:
        world.display.say("There is no demo to remove.")
        return
    remove(world, to_be_deleted(world.studio, project))
    uploads = (world.settings.uploads_dir / str(project.id)).relative_to(world.settings.labelloop_home)
    world.display.say(
        f"The demo is removed. Label Studio keeps its pictures' files: rm -r {uploads} frees 4 MB."
    )


def _pre_label_first(world: World, number: int, models: ProjectModels) -> None:
    """Waits until the starting model has predicted boxes for every picture."""
    if models.champion() not in (None, STARTING_VERSION):
        return
    world.display.say(
        "2. The starting model looks at them. It has never seen such parts and has no names for them, so it\n"
        "   proposes nothing of use."
    )
    deadline = time.monotonic() + START_WAIT_S
    while models.champion() is None:
        require_worker(world.settings.rounds_dir)
        if time.monotonic() > deadline:
            raise WorkerGone(
                f"no starting model of project {number} after {START_WAIT_S:.0f} s; see `make logs`"
            )
        time.sleep(POLL_S)
    adopt(world.studio, world.settings, number)
    _follow(world, number)


def _follow(world: World, number: int) -> None:
    follow_predictions(world, number, world.display)


def _label(world: World, project: DemoProject, until: int, title: str, you: str) -> None:
    """Corrects and submits tasks as Label Studio hands them out, until `until` pictures are labelled."""
    count = until - world.studio.count_tasks(project.labelling.id, LABELLED)
    if count <= 0:
        world.display.say(f"{title} {plural(until, 'picture')} labelled already.")
        return
    person, work = Person.of(world.settings.costs), Work()
    for done in range(count):
        task = project.labelling.next()
        if task is None:
            break
        corrected = correct(task.proposed, task.image.boxes, person)
        project.labelling.submit(task, corrected.seconds(person))
        work += corrected
        world.display.update("labelling", (done + 1) / count, None, f"{done + 1} of {count} pictures")
    world.display.finish()
    world.display.say(
        f"{title} A simulated person labelled {plural(count, 'picture')}. {you}\n   {work_in_words(work)}"
    )


def work_in_words(work: Work) -> str:
    """Says what was done with the boxes, and how much time that saved by each table of costs."""
    counts = (
        f"{plural(work.truths, 'box', 'boxes')}: {work.accepted} accepted as proposed, "
        f"{work.adjusted} adjusted, {work.relabelled} relabelled, {work.drawn} drawn, "
        f"{work.deleted} wrong ones deleted"
    )
    times = "; ".join(f"{_time_in_words(work, costs)} ({name} costs)" for name, costs in TABLES.items())
    return f"{counts}.\n   A person's time, about: {times}."


def _time_in_words(work: Work, costs: Costs) -> str:
    share = work.share_saved(costs)
    saved = f", {share:.0%} saved" if share > 0 else ""
    return f"{duration(work.seconds(costs))} instead of {duration(work.seconds_by_hand(costs))}{saved}"


def _round(world: World, number: int, models: ProjectModels, title: str) -> bool:
    """Trains a round unless a trained version is in service already. Returns: whether one is afterwards."""
    if models.champion() != STARTING_VERSION:
        world.display.say(f"{title} {models.champion()} is in service already.")
        return True
    world.display.say(f"{title} You would press Start Training, or type `make retrain PROJECT={number}`.")
    round_, _ = world.rounds.request(number, "make demo")
    round_ = follow_round(world.rounds, round_, world.display)
    if round_.state not in ROUND_OVER:
        raise SimulationError(f"round {round_.id} is {round_.state}: {round_.error or round_.verdict}")
    world.display.say(f"   {round_.verdict}")
    if round_.state == State.PROMOTED:
        _follow(world, number)
    return round_.state == State.PROMOTED


def _say_rest(world: World, places: Places, number: int, left: int) -> None:
    rest = (
        f"{plural(left, 'picture')} with the model's boxes on them wait for you"
        if left
        else "Every picture is labelled"
    )
    world.display.say(
        f"6. Your turn. {rest}: open the project and press Label All Tasks.\n"
        f"   project    {places.studio}/projects/{number}/data\n"
        f"   dashboard  {places.dashboard}/?project={number}\n"
        f"   remove     make demo REMOVE=1"
    )
