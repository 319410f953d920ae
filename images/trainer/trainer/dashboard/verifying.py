"""Keeps the page Verify in crops, and hands in what was answered: per project, one reader in the background
and one way to Label Studio.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labelloop.regions import read_regions
from labelloop.registry import Card
from labelloop.studio import StudioError, has_draft
from labelloop.task_filters import UNLABELLED, where, with_prediction_of
from labelloop.verified import accepted, marked
from trainer.dashboard import sure
from trainer.dashboard.verify_store import CROPS, FILE, LONGEST_WAIT_S, Store
from trainer.dashboard.verify_values import Due, NotThisPage, Page
from trainer.loop import Loop
from trainer.peers.projects import Project, fetch
from trainer.system.failures import bug
from trainer.words import plural

log = logging.getLogger(__name__)

ENOUGH = 10 * CROPS
"""So many boxes of a label wait before no more is read."""
FULL = 5000
"""So many boxes of all labels wait at most."""
TASKS_AT_ONCE = 100
FIRST_RANGE, WIDEST_RANGE = 500, 1 << 20
AGAIN_S, AGAIN_TIMES = 60.0, 10.0
"""After all tasks were read, they are read again after AGAIN_S seconds, and AGAIN_TIMES times as long as it
took.
"""
FIRST_WAIT_S = 1.0
HAND_IN_AT_ONCE = 100
OPEN_WAIT_S = LONGEST_WAIT_S
"""A task that somebody has open in Label Studio is handed in after so long, unless she labels it."""
RETRY_S = 30.0

NOT_SKIPPED = where("cancelled_annotations", "equal", 0)
LEFT = ("labelled", "begun")

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Sought:
    """Whose boxes are looked for. least: by label, the score from which on they are sure."""

    project: Project
    card: Card
    least: Mapping[str, float]


class Verifying:
    """Of all projects. Several threads use it."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._projects: dict[int, _Project] = {}

    def of(self, project: int) -> "_Project":
        with self._lock:
            found = self._projects.get(project)
            if found is None:
                found = self._projects[project] = _Project(self._loop, project)
            return found

    def go_on(self) -> None:
        """Hands in what was answered before the dashboard was stopped."""
        for project in self._loop.registry.projects():
            if (self._loop.models(project).path / FILE).is_file():
                self.of(project).go_on()

    def stop(self) -> None:
        with self._lock:
            for project in self._projects.values():
                project.stopping.set()


class _Project:
    """One project. store: what is known of it. reading: whether tasks are being read."""

    def __init__(self, loop: Loop, project: int) -> None:
        self.stopping = threading.Event()
        self.store = Store(loop.models(project).path)
        self.problem: str | None = None
        self._loop, self._project = loop, project
        self._lock = threading.Lock()
        self._one_way = threading.RLock()
        self._reader: threading.Thread | None = None
        self._retrying = self._waiting = False
        self._again_at = 0.0

    @property
    def reading(self) -> bool:
        reader = self._reader
        return reader is not None and reader.is_alive()

    def look_for(self, sought: Sought, label: str | None) -> None:
        """Has tasks read in the background unless enough boxes wait; then waits, for FIRST_WAIT_S at most."""
        self.store.begin(sought.card.version, sought.project.label_config)
        ready = self.store.ready()
        enough = (ready.get(label, 0) if label else max(ready.values(), default=0)) >= CROPS
        with self._lock:
            if not self.reading and not self._has_enough(ready, label):
                self._reader = threading.Thread(
                    target=self._read, args=(sought, label), name="verify", daemon=True
                )
                self._reader.start()
            reader = self._reader
        if reader is not None and not enough:
            reader.join(FIRST_WAIT_S)

    def page(self, person: int, email: str, label: str | None) -> Page | None:
        """The page that a person has before her, without crops of tasks that were labelled meanwhile.

        Raises:
            StudioError: Label Studio does not answer.
        """
        page = self.store.page(person, email, label)
        for _ in range(2):  # what comes in the place of stale crops may be stale, too
            stale = self._labelled_meanwhile(page)
            if page is None or not stale:
                break
            page = self.store.withdraw(page.id, stale)
        return page

    def answer(self, page: str, person: int, wrong: set[int], seconds: float | None) -> str:
        """Notes what a person answered and hands in the images that are done; says what came of it.

        Raises:
            NotThisPage.
        """
        answered = self.store.answer(page, person, wrong, seconds)
        said = f"{answered.right} right, {answered.wrong} wrong."
        if not answered.due:
            return said
        try:
            did = self.hand_in()
        except StudioError as error:
            self.retry(RETRY_S)
            return f"{said} Written down; Label Studio gets it as soon as it takes it: {error}"
        return f"{said} {in_words(did)}"

    def hand_in(self) -> Counter[str]:
        """Hands in what is due; returns how often what was done. Raises StudioError."""
        did: Counter[str] = Counter()
        with self._one_way:
            for page in self.store.undoing():
                self._take_back(page)
            while due := self.store.due(HAND_IN_AT_ONCE):
                did.update(self._handed_in(due))
        if did["open"]:
            self._look_again()
        return did

    def undo(self, person: int) -> str:
        """Takes back the page that a person answered last.

        Raises:
            NotThisPage: there is none. StudioError: Label Studio does not answer; it is taken back later.
        """
        with self._one_way:
            page = self.store.last_answered(person)
            if page is None:
                raise NotThisPage("There is no page of yours to take back.")
            self.store.begin_undo(page)
            try:
                shown, kept = self._take_back(page)
            except StudioError:
                self.retry(RETRY_S)
                raise
        said = (
            f"Taken back: {plural(shown, 'crop')}, as you had marked them."
            if shown
            else "Nothing could be taken back."
        )
        if kept:
            said += f" {kept} changed in Label Studio since, which stays as it is there."
        return said

    def go_on(self) -> None:
        """Hands in, in the background, what an earlier request or process left."""
        if self.store.due(1) or self.store.undoing():
            self.retry(0.0)

    def _look_again(self) -> None:
        """Hands in what somebody has open, once its time is over, also when nobody visits the page."""
        with self._lock:
            if self._waiting:
                return
            self._waiting = True

        def wait() -> None:
            stopped = self.stopping.wait(OPEN_WAIT_S)
            self._waiting = False
            if not stopped:
                self.go_on()

        threading.Thread(target=wait, name="verify-open", daemon=True).start()

    def retry(self, wait_s: float) -> None:
        """Hands in, in the background, as soon as Label Studio takes it."""
        with self._lock:
            if self._retrying:
                return
            self._retrying = True
        threading.Thread(target=self._retry, args=(wait_s,), name="verify-retry", daemon=True).start()

    def _retry(self, wait_s: float) -> None:
        try:
            while not self.stopping.wait(wait_s):
                wait_s = RETRY_S
                try:
                    self.hand_in()
                except StudioError as error:
                    log.warning("project %d: what was verified waits: %s", self._project, error)
                    continue
                return
        finally:
            self._retrying = False

    def _handed_in(self, due: Sequence[Due]) -> Counter[str]:
        config = fetch(self._loop.studio, self._project).labels
        items: list[dict[str, Any]] = []
        left: list[dict[str, Any]] = []
        for task in due:
            item = item_of(task)
            (left if read_regions(item["result"], config).faults else items).append(item)
        did: Counter[str] = Counter()
        for item in left:  # the labels were changed since the boxes were seen
            self.store.settle(item["task"], item["unique_id"], "unknown label")
            did["unknown label"] += 1
        for item, done in zip(items, self._asked("", items), strict=True):
            wait_s = OPEN_WAIT_S if done == "open" else 0.0
            self.store.settle(item["task"], item["unique_id"], done, wait_s)
            did[done] += 1
            log.info("task %d, verified by user %d: %s", item["task"], item["person"], done)
        return did

    def _take_back(self, page: str) -> tuple[int, int]:
        """How many crops are before the person again, and how many tasks stay as they are."""
        items = [item_of(task) for task in self.store.to_take_back(page)]
        did = zip(items, self._asked("/undo", items), strict=True)
        kept = {int(item["task"]) for item, done in did if done == "changed"}
        return self.store.undone(page, kept), len(kept)

    def _asked(self, what: str, items: Sequence[Json]) -> list[str]:
        if not items:
            return []
        path = f"/labelloop/projects/{self._project}/verified{what}"
        answer = self._loop.studio.request("POST", path, json={"items": list(items)})
        return [str(done["did"]) for done in answer["items"]]

    def _labelled_meanwhile(self, page: Page | None) -> list[int]:
        """The tasks of a page that are gone, or of which somebody has an annotation or a draft."""
        if page is None:
            return []
        tasks = sorted({crop.task for crop in page.crops})
        rows = self._loop.studio.iter_tasks(
            self._project,
            where("id", "in_list", tasks, "List"),
            UNLABELLED,
            NOT_SKIPPED,
            fields="all",
            omit="annotations,drafts,predictions",
            page_size=CROPS,
        )
        free = {int(row["id"]) for row in rows if not has_draft(row)}
        return [task for task in tasks if task not in free]

    def _has_enough(self, ready: Mapping[str, int], label: str | None) -> bool:
        most = ready.get(label, 0) if label else max(ready.values(), default=0)
        return most >= ENOUGH or sum(ready.values()) >= FULL

    def _read(self, sought: Sought, label: str | None) -> None:
        try:
            self._read_on(sought, label)
            self.problem = None
        except Exception as error:
            self.problem = str(error)
            log.warning("project %d: %s", self._project, error, exc_info=bug(error))

    def _read_on(self, sought: Sought, label: str | None) -> None:
        """Reads tasks by their numbers, range by range: Label Studio counts what a query finds, and a range
        bounds that.
        """
        studio, version = self._loop.studio, sought.card.version
        project = sought.project
        finishable = not sure.asks_more(project.label_config)
        low, last, width = self.store.cursor + 1, studio.last_task(self._project), FIRST_RANGE
        if low > last:
            if time.monotonic() < self._again_at:
                return
            low = 1
        began, from_start = time.monotonic(), low == 1
        while low <= last and not self.stopping.is_set():
            high = min(low + width - 1, last)
            rows = studio.tasks_between(
                self._project,
                (low, high),
                UNLABELLED,
                NOT_SKIPPED,
                with_prediction_of(version),
                omit="annotations,drafts",
                limit=TASKS_AT_ONCE,
            )
            whole = len(rows) < TASKS_AT_ONCE
            low = high + 1 if whole else int(rows[-1]["id"]) + 1
            width = min(2 * width, WIDEST_RANGE) if len(rows) < TASKS_AT_ONCE // 2 else FIRST_RANGE
            found = (
                sure.read(row, version, sought.least, project.labels, sought.card, finishable) for row in rows
            )
            images = [image for image in found if image is not None]
            if not self.store.put(images, low - 1, version, project.label_config):
                return  # another version is in service, or the labels were changed: the next reader's turn
            if self._has_enough(self.store.ready(), label):
                return
        took = time.monotonic() - began
        self._again_at = time.monotonic() + max(AGAIN_S, AGAIN_TIMES * took if from_start else 0.0)


def item_of(due: Due) -> dict[str, Any]:
    """What Label Studio is asked to make of a task, in the form of the provisioner's module `verified`."""
    return {
        "task": due.task,
        "unique_id": due.unique_id,
        "person": due.person,
        "finished": due.finished,
        "result": list(_result(due)),
        "prediction": due.prediction,
        "lead_time": due.lead_time,
    }


def _result(due: Due) -> Iterable[dict[str, Any]]:
    """The regions of an annotation; of a draft, those that are right, with a word for whoever goes on, and
    those that nobody was asked about.
    """
    for number, row in enumerate(due.rows):
        if number not in due.answers:
            yield accepted(row)
            continue
        right, by, at = due.answers[number]
        if right and due.finished:
            yield marked(row, by, at)
        elif right:
            yield {**accepted(row), "meta": {"text": [f"seen right by {by} on the page Verify"]}}


_SAYINGS = (
    (("submitted",), "submitted"),
    (("drafted",), "left to Label Studio as a draft of yours"),
    (LEFT, "labelled by somebody else meanwhile, which counts"),
    (("open",), "open before somebody else in Label Studio, who comes first"),
    (
        ("gone", "unknown label", "nobody"),
        "not written: the task, the label or the account is not there any more",
    ),
)


def in_words(did: Counter[str]) -> str:
    """What became of images: "2 images submitted, 1 image left to Label Studio …"."""
    said = []
    for kinds, words in _SAYINGS:
        count = sum(did[kind] for kind in kinds)
        if count:
            said.append(f"{plural(count, 'image')} {words}")
    return f"{'; '.join(said)}." if said else ""
