"""Makes tasks of an image storage's files, many in one transaction.

Label Studio makes a task and its link in a transaction of their own, and writes the project's summary again
for each. The rows, counts and messages are the same here; a test compares them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from django.conf import settings
from fsm.functions import backfill_fsm_states_for_tasks
from io_storages.localfiles.models import LocalFilesImportStorageLink as Link
from projects.models import ProjectSummary
from tasks.models import Task
from webhooks.models import WebhookAction
from webhooks.utils import emit_webhooks_for_instance

from provisioner.counts import last_inner_id
from provisioner.in_turn import one_at_a_time, written_in_turn

AT_ONCE = 250
"""So many tasks are made in a transaction, which takes a few hundredths of a second."""

TwinOf = Callable[[Path], Any]


def synchronise(storage: Any, twin_of: TwinOf) -> None:
    """Makes a task of each file that the storage finds and has no task of.

    storage: one whose files are images that are shown, with Label Studio's status "queued". twin_of: the task
    that an image has already, which is linked instead; None if it has none.
    """
    storage.info_set_in_progress()
    work = _Synchronisation(storage, twin_of)
    for keys in _portions(storage.iter_keys(), AT_ONCE):
        work.take(list(dict.fromkeys(keys)))
    work.finish()


def _portions(keys: Iterable[str], size: int) -> Iterator[Sequence[str]]:
    left = iter(keys)
    while portion := tuple(islice(left, size)):
        yield portion


@dataclass
class _Synchronisation:
    """existed: files that had tasks. made: those that have one now. unsaid: tasks that webhooks are yet to be
    told of.
    """

    storage: Any
    twin_of: TwinOf
    existed: int = 0
    made: int = 0
    unsaid: list[int] = field(default_factory=list)

    def take(self, keys: Sequence[str]) -> None:
        """Makes the tasks of files that have none, all or none of them."""
        known = Link.exists(keys, self.storage)
        found = {key: self.twin_of(Path(key)) for key in keys if key not in known}  # which may read the files
        with written_in_turn():
            one_at_a_time(self.storage.project_id)
            known |= Link.exists(found, self.storage)
            new = [key for key in found if key not in known]
            twins = {key: found[key] for key in new if found[key] is not None}
            for key, twin in twins.items():
                Link.create(twin, key=key, storage=self.storage)
            tasks = self._make([key for key in new if key not in twins])
        self.existed += len(known)
        self.made += len(new)
        self.unsaid += [task.id for task in tasks]
        if len(self.unsaid) >= settings.WEBHOOK_BATCH_SIZE:
            self._tell()
        self.storage.info_update_progress(last_sync_count=self.made, tasks_existed=self.existed)

    def finish(self) -> None:
        """What Label Studio does once all tasks are made."""
        self._tell()
        backfill_fsm_states_for_tasks(self.storage.id, self.made, Link)
        self.storage.project.update_tasks_states(
            maximum_annotations_changed=False,
            overlap_cohort_percentage_changed=False,
            tasks_number_changed=True,
        )
        self.storage.info_set_completed(last_sync_count=self.made, tasks_existed=self.existed)

    def _make(self, keys: Sequence[str]) -> list[Any]:
        """The tasks of these files, stored with their links."""
        if not keys:
            return []
        project = self.storage.project
        last = last_inner_id(project)
        found = [(key, thing) for key in keys for thing in self.storage.get_data(key)]
        tasks = Task.objects.bulk_create(
            Task(
                data=thing.task_data,
                project=project,
                overlap=project.maximum_annotations,
                inner_id=last + number,
            )
            for number, (_, thing) in enumerate(found, start=1)
        )
        Link.objects.bulk_create(
            Link(task=task, key=key, storage=self.storage)
            for task, (key, _) in zip(tasks, found, strict=True)
        )
        summary, _ = ProjectSummary.objects.get_or_create(project=project)
        summary.update_data_columns(tasks)
        return list(tasks)

    def _tell(self) -> None:
        if self.unsaid:
            project = self.storage.project
            emit_webhooks_for_instance(
                project.organization, project, WebhookAction.TASKS_CREATED, self.unsaid
            )
            self.unsaid = []
