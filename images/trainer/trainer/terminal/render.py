"""Status, models and problems as text for a terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from labelloop.registry import Card, ProjectModels, RegistryError
from trainer.dataset.left_out import counts_in_words
from trainer.health.status import ProjectStatus, Status
from trainer.judging.standing import Pair, Stand, Standing
from trainer.rounds.table import Round
from trainer.rounds.unpredicted import Failure
from trainer.terminal.display import plain
from trainer.terminal.watch import round_time_left
from trainer.words import in_this_zone, plural
from trainer.worker.image_index import Problem

SHOWN_PROBLEMS = 20
SHOWN_NAMES = 8


def status(found: Status, console: Console) -> None:
    for service in found.services:
        word = (
            "[green]well[/green]"
            if service.problem is None
            else f"[red]NOT WELL[/red]  {plain(service.problem)}"
        )
        console.print(f"{service.name:<12} {word}")
    if found.bucket is not None and found.bucket.problem:
        way_out = f"{found.bucket.problem}. {found.bucket.fix}"
        console.print(f"[red]bucket[/red]       {plain(way_out)}")
    elif found.bucket is not None:
        console.print(f"bucket       {plain(found.bucket.url)}")
    for problem in found.problems:
        console.print(f"[red]problem[/red]      {plain(problem)}")
    for project in found.projects:
        _project(project, console)
    for told in found.left_alone:
        console.print(f"\nLeft alone: {plain(told)}")
    for left in found.left_over:
        console.print(f"\nModels without a project: {plain(left.told)}")
    for project in found.projects:
        if project.failed:
            console.print(f"\nProject {project.id}: ", end="")
            without_boxes(project.failed, console)
    problems(found.unreadable, console)


def _project(project: ProjectStatus, console: Console) -> None:
    def line(name: str, text: str) -> None:
        console.print(f"  {name:<10} {plain(text)}")

    console.print(f"\nProject {project.id}: {plain(project.title)}")
    if project.left_alone is not None:
        line("left alone", project.left_alone)
        return
    if project.champion is None:
        line("in service", "none yet; the starting model is being written")
    else:
        found = project.champion
        where = f", on {project.device}" if project.device else ""
        line("in service", f"{found.version}, {found.detector}{where}, {_score(found, project.standing)}")
        if project.instant is not None:
            does = "makes the next images' boxes"
            if project.instant_shows_none:
                does = "shows no boxes, which would cost more time than they save, and answers clicks alone"
            of = f"learnt upon {found.version}"
            if project.instant_refitted:
                of = f"{found.version} with thresholds of the newest labels"
            line("at once", f"{project.instant}, {of}, {does}")
    if project.start is not None:
        line(
            "start",
            f"{project.start.detector}, weights: {project.start.start_weights}; {_why(project.start)}",
        )
    if project.speed is not None:
        line("detector", f"DETECTOR=auto: {project.speed}")
    if project.tasks is not None:
        line(
            "images",
            f"{project.tasks}, {project.labelled} labelled, {project.waiting} not labelled yet, or skipped",
        )
        if project.unpredicted:
            line("pre-labels", f"the model has yet to look at {plural(project.unpredicted, 'image')}")
    for text in _data(project):
        line("data", text)
    if project.standing is not None and project.standing.round is not None:
        line("scores", project.standing.words)
    if project.small_objects:
        line("objects", project.small_objects)
    if project.failed:
        line("unseen", f"the model could not look at {plural(len(project.failed), 'image')}, see below")
    if project.shows is not None:
        line("shows", project.shows_words)
    line("round", _round(project.open_round, project.last_round))
    if project.open_round is None and project.no_round is not None:
        line("retrain", f"not now. {project.no_round}")
    if project.labels_to_go is not None:
        line("next round", f"by itself after {plural(project.labels_to_go, 'more labelled image')}")
    if project.unmatched_labels:
        line(
            "labels",
            f"the model does not know {_names(project.unmatched_labels)}; it learns them from your labels",
        )
    if project.unmapped_classes:
        # If the model was trained here, its unmapped classes are labels that the project no longer has.
        trained = project.champion is not None and project.champion.trained
        way = "" if trained else " (predicted_values takes them)"
        line("classes", f"no label takes the model's {_names(project.unmapped_classes)}{way}")
    for problem in project.problems:
        line("problem", problem)


def _data(project: ProjectStatus) -> list[str]:
    """What is not used of the labels, and why; nothing when all is."""
    survey = project.survey
    if survey is None or not survey.left_out:
        return []
    images, boxes, lines = survey.images, survey.beside, []
    if images:
        labelled = f" of {project.labelled}" if project.labelled is not None else ""
        lines.append(f"{len(images)}{labelled} labelled images are not used: {counts_in_words(images)}")
    if boxes:
        lines.append(f"boxes that are not learned, in so many images: {counts_in_words(boxes)}")
    return [*lines[:-1], f"{lines[-1]}; the dashboard's page Data names them"]


def _why(start: Card) -> str:
    """The reason for the choice of detector, without the part about its weights."""
    return start.reason.replace(start.start_weights, "").strip("; ") or "chosen by hand"


def _round(open_round: Round | None, last: Round | None) -> str:
    if open_round is not None:
        said = (f"{open_round.stage_progress:.0%}", round_time_left(open_round), open_round.message)
        return f"{open_round.called} is {open_round.state}, {', '.join(filter(None, said))}"
    if last is not None:
        return f"none open; {last.called}: {last.verdict or last.error or last.state}"
    return "none yet; `make retrain` starts one"


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN_NAMES])
    return shown if len(names) <= SHOWN_NAMES else f"{shown} and {len(names) - SHOWN_NAMES} more"


def _score(card: Card, standing: Standing | None) -> str:
    """What is known of the champion's mAP, each number with the hold-out that it is of."""
    stand = standing.of(card.version) if standing and standing.round else None
    words = []
    if stand is not None and stand.mAP is not None:
        words.append(f"mAP {stand.mAP:.3f} on today's hold-out" + (f" ({stand.why})" if stand.why else ""))
    elif stand is not None:
        words.append(stand.why)
    pair = Pair.of(card)
    if pair is not None:
        words.append(f"at its promotion {pair}")
    return "; ".join(words) or "not yet scored on a hold-out"


def problems(found: Sequence[Problem], console: Console, what: str = "cannot be used") -> None:
    if not found:
        return
    console.print(f"\n{plural(len(found), 'file')} {what}:")
    for problem in found[:SHOWN_PROBLEMS]:
        console.print(f"  {plain(problem.path)}: {plain(problem.reason)}")
    if len(found) > SHOWN_PROBLEMS:
        console.print(f"  and {len(found) - SHOWN_PROBLEMS} more")


def without_boxes(found: Sequence[Failure], console: Console) -> None:
    """Names the tasks that could not be given a prediction."""
    if not found:
        return
    console.print(f"The model could not look at {plural(len(found), 'image')}; it tries again by itself:")
    for failure in found[:SHOWN_PROBLEMS]:
        console.print(f"  task {failure.task}, {plain(failure.name)}: {plain(failure.reason)}")
    if len(found) > SHOWN_PROBLEMS:
        console.print(f"  and {len(found) - SHOWN_PROBLEMS} more")


def models(versions: ProjectModels, standing: Standing, title: str, console: Console) -> None:
    """A table of versions, oldest first; the one in service is marked.

    The scores of one column are of one hold-out, today's. Those of a promotion are in the gate's words, as a
    pair, since each pair is of another one.
    """
    champion = versions.champion()
    table = Table(
        "version",
        "in service",
        "made",
        "detector",
        "trained on",
        "mAP today",
        "at its promotion, on the hold-out of then",
        title=title,
    )
    notes = []
    for version in versions.versions():
        try:
            card = versions.card(version)
        except RegistryError as error:
            table.add_row(version, "", "", "", "", "", plain(str(error)))
            continue
        stand = standing.of(version) if standing.round else None
        if stand is not None and stand.why and stand.score is not None:
            notes.append(f"{version}: {stand.why}")
        table.add_row(
            version,
            "yes" if version == champion else "",
            in_this_zone(card.created_at),
            card.detector,
            plural(card.images, "image") if card.images else "",
            _today(stand),
            plain(card.reason if card.round is not None else card.verdict),
        )
    console.print(table)
    console.print(plain(f"mAP today: {standing.words}."))
    for note in notes:
        console.print(f"  {plain(note)}")
    gone = versions.removed()
    if gone:
        console.print(f"Removed by retention (KEEP_VERSIONS): {', '.join(gone)}")


def _today(stand: Stand | None) -> str:
    """A score on today's hold-out with its interval; "not yet" before there is one."""
    if stand is None:
        return ""
    if stand.mAP is None or stand.score is None:
        return "not yet" if stand.score is None else "–"
    low, high = stand.score.interval or (None, None)
    return f"{stand.mAP:.3f}" + (f" ({low:.3f} to {high:.3f})" if low is not None else "")
