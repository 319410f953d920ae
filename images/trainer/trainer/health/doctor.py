"""The trainer's half of `make doctor`: one finding for each trouble it can see, with the way out.

`make doctor` shows these beside the findings on the host.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from math import ceil

from labelloop import connection
from labelloop.clocks import is_ahead
from labelloop.findings import LOGS, Finding, ok, problem, warning
from labelloop.studio import Studio, StudioError
from trainer.env import TrainerSettings
from trainer.health.status import ProjectStatus, Service, Status, gather
from trainer.peers.backend import Backend
from trainer.peers.projects import SIMULATED
from trainer.rounds.table import State
from trainer.system.failures import in_words
from trainer.words import in_this_zone, plural
from trainer.worker.bucket_import import read_state
from trainer.worker.cached_images import CachedImages

SHOWN = 5
TIMEOUT_S = (3.0, 10.0)
"""The limits for each request to Label Studio, in seconds: to connect, to answer."""
OVER = 1.1
"""A cache above CACHE_GB by less is about to be cut."""
WELL = ("CO", "TR", "PR")
"""The codes of Label Studio for a working connection: connected, training, predicting."""


def examine(settings: TrainerSettings, studio: Studio, backend: Backend) -> list[Finding]:
    """Checks everything once. A check that fails is a finding too."""
    seen: list[Status] = []

    def look() -> Iterator[Finding]:
        seen.append(gather(settings, studio, backend))
        yield from _general(seen[0])

    found = _guarded("status", look) + _guarded("image cache", partial(_image_cache, settings))
    found += _guarded("bucket", partial(_bucket, settings))
    for project in seen[0].projects if seen else ():
        if project.simulated:
            found.append(ok(f"project {project.id}", f"{project.title}: {SIMULATED}"))
            continue
        if project.left_alone is not None:
            found.append(_left_alone(project))
            continue
        checks = {
            "weights": partial(_weights, settings, project),
            "ML backend": partial(_connection, settings, studio, project),
            "labels": partial(_labels, project),
            "boxes": partial(_boxes, project),
            "round": partial(_round, project),
            "speed": partial(_speed, project),
        }
        for name, check in checks.items():
            found += _guarded(f"{name}, project {project.id}", check)
    return found


def _guarded(name: str, check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """The findings of a check. If the check itself fails, that is its finding."""
    found: list[Finding] = []
    try:
        found.extend(check())
    except Exception as error:
        why = in_words(error, (StudioError,))
        found.append(problem(name, f"could not be looked at: {why}", *LOGS))
    return found


def _general(status: Status) -> Iterator[Finding]:
    """Services and open problems as in `labelloop status`, and the image files that cannot be used."""
    for service in status.services:
        yield _service(service)
    for text in status.problems:
        yield problem("open problem", text, *LOGS)
    for project in (each for each in status.projects if not each.simulated):
        for text in project.problems:
            yield problem(f"project {project.id}", text, *LOGS)
    if status.left_over:
        paths = " ".join(f"volumes/models/{left.path}" for left in status.left_over)
        yield warning(
            "models without a project",
            "; ".join(left.told for left in status.left_over),
            "Those that were never trained go by themselves after a week. The others stay, for Label "
            "Studio's database may be restored, and a project comes back to its models. If it never will, "
            "delete them.",
            f"rm -r {paths}",
        )
    if not status.unreadable:
        yield ok("images", "all can be read")
        return
    named = _some([f"{file.path} ({file.reason})" for file in status.unreadable])
    yield warning(
        "images",
        f"{plural(len(status.unreadable), 'file')} cannot be used: {named}",
        "Replace or remove them; the others are not held up.",
        "make import",
    )


def _bucket(settings: TrainerSettings) -> Iterator[Finding]:
    """Whether the bucket that IMAGES names can be listed, and has something in it."""
    state = read_state(settings)
    if settings.bucket is None:
        return
    if state is None:
        yield warning(
            "bucket", f"{settings.bucket.url} has not been listed yet", "Wait a minute.", "make logs"
        )
    elif state.problem:
        yield problem("bucket", state.problem, state.fix, "make up")
    elif state.left_out:
        text = f"{state.url}: {plural(state.left_out, 'image')} with a question mark in the name"
        yield warning("bucket", text, "Label Studio cannot show them: give them other names.", "make status")
    else:
        yield ok("bucket", f"{state.url} is gone through in {state.seconds:.0f} s")


def _image_cache(settings: TrainerSettings) -> Iterator[Finding]:
    """How much of other servers' images is kept, and whether rounds need more than CACHE_GB."""
    usage = CachedImages(settings).usage()
    if not usage.images:
        return
    text = f"{plural(usage.images, 'image')} of other servers, {usage.size / 1e9:.1f} GB"
    if usage.size <= OVER * settings.cache_bytes:
        yield ok("image cache", f"{text} of CACHE_GB={settings.cache_gb:g}")
        return
    yield warning(
        "image cache",
        f"{text}, more than CACHE_GB={settings.cache_gb:g}: rounds need {usage.needed / 1e9:.1f} GB of it",
        "What rounds need stays in any case; the rest goes within minutes, and is fetched anew when it is "
        "looked at again. Allow for more, or keep fewer rounds (KEEP_ROUNDS).",
        f"make up CACHE_GB={ceil(2 * usage.size / 1e9)}",
    )


def _left_alone(project: ProjectStatus) -> Finding:
    fix = "Leave it as it is, or press Take over on the dashboard, which asks first."
    return warning(f"ML backend, project {project.id}", str(project.left_alone), fix, "make status")


def _service(service: Service) -> Finding:
    name = f"{service.name} to the trainer"
    if service.problem is None:
        return ok(name, f"answers at {service.url}")
    return problem(name, service.problem, "Start what is down; what runs well stays.", "make up")


def _weights(settings: TrainerSettings, project: ProjectStatus) -> Iterator[Finding]:
    """The starting model's weights and where they came from."""
    name = f"weights, project {project.id}"
    folder = settings.cache_dir / "weights"
    cached = sorted(path.name for path in folder.glob("*.pth")) if folder.is_dir() else []
    there = f"volumes/cache/weights has {_some(cached) if cached else 'none'}"
    put = f"Put the detector's .pth into {folder} (docs/how-to/air-gapped.md); labels alone teach it, too."
    if project.start is None:
        yield problem(name, f"no starting model can be read; {there}", put, "make up")
        return
    start = project.start
    served = f"{project.champion.version} in service" if project.champion else "no version in service"
    text = f"{start.detector}, {start.start_weights or 'of unknown origin'}; {there}; {served}"
    if start.start_weights.startswith("none"):
        yield warning(name, text, put, "make retrain")
    else:
        yield ok(name, text)


def _connection(settings: TrainerSettings, studio: Studio, project: ProjectStatus) -> Iterator[Finding]:
    """The ML backend as Label Studio sees it. Listing the connections makes Label Studio ask it anew."""
    name = f"ML backend, project {project.id}"
    wanted = connection.backend_url(settings)
    rows = studio.backends(project.id)
    ours = [row for row in rows if str(row.get("url", "")).rstrip("/") == wanted]
    connect = (f"Connect {wanted} in the project's settings, under Model, or let it be done.", "make up")
    if not rows:
        yield warning(name, "none is connected: Start Training does nothing in it", *connect)
    elif not ours:
        others = _some([str(row.get("url")) for row in rows])
        yield warning(name, f"Label Studio asks {others}, not {wanted}", *connect)
    for row in ours:
        state = row.get("readable_state") or row.get("state")
        if row.get("state") in WELL:
            yield ok(name, f"{state} at {wanted}, says Label Studio")
        else:
            why = f": {row['error_message']}" if row.get("error_message") else ""
            fix = "The backend is down, or its password isn't Label Studio's: both are mended."
            yield problem(name, f"{state} at {wanted}, says Label Studio{why}", fix, "make up")


def _labels(project: ProjectStatus) -> Iterator[Finding]:
    """Labels that the model in service has no class for."""
    name = f"labels, project {project.id}"
    if not project.unmatched_labels:
        yield ok(name, "the model in service knows every label" if project.champion else "no model")
        return
    trained = project.champion is not None and project.champion.trained
    by_name = "; or name a class that stands for one with predicted_values (docs/how-to/own-labels.md)"
    yield warning(
        name,
        f"the model in service does not know {_some(project.unmatched_labels)}",
        f"It learns them from your labels{'' if trained else by_name}.",
        "make retrain",
    )


def _boxes(project: ProjectStatus) -> Iterator[Finding]:
    """Images that got no boxes, and predictions that are shown instead of the model's."""
    name = f"boxes, project {project.id}"
    if project.failed:
        named = _some([f"task {f.task}, {f.name} ({f.reason})" for f in project.failed])
        yield warning(
            name,
            f"the model could not look at {plural(len(project.failed), 'image')}: {named}",
            "The worker tries again by itself; this tries at once.",
            f"make predict PROJECT={project.id}",
        )
    elif project.shows is not None:
        yield ok(name, f"shows {project.shows_words}")
    else:
        yield ok(name, "every image that was tried has its prediction")


def _round(project: ProjectStatus) -> Iterator[Finding]:
    """The open round, how the last one ended, and whether it is dated in the future."""
    name = f"round, project {project.id}"
    last, running = project.last_round, project.open_round
    for round_ in filter(None, (running, last)):
        if is_ahead(datetime.fromisoformat(round_.requested_at)):
            text = f"round {round_.called} is dated in the future: {in_this_zone(round_.requested_at)}"
            yield warning(name, text, "Set the clock right; the round stays.", "date --utc")
    if running is not None:
        yield ok(name, f"{running.called} is {running.state}, {running.stage_progress:.0%}")
    elif last is None:
        yield ok(name, "none yet")
    elif last.state == State.FAILED:
        fix = f"The whole log is volumes/rounds/{last.name}/log.txt; the model in service stays. Try again."
        yield warning(name, f"{last.called} failed: {last.error}", fix, "make retrain")
    else:
        yield ok(name, f"{last.called} was {last.state}: {last.verdict or 'without a word'}")


def _speed(project: ProjectStatus) -> Iterator[Finding]:
    """How long rounds take here, where that was measured."""
    if project.speed is not None:
        yield ok(f"speed, project {project.id}", project.speed)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
