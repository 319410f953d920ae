"""Whether somebody has a task open in the label stream.

Label Studio notes until when. A note that was made while the clock was ahead would keep the task from
everybody else until that time comes, which may be in years. Here no note counts for longer than the longest
one that is made today.
"""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils.timezone import now
from tasks.models import Task

from labelloop.clocks import LEEWAY


def held(task: Any) -> Any:
    """The notes of a task that count now, as a queryset."""
    longest = max(settings.TASK_LOCK_TTL, task.project.custom_task_lock_ttl or 0)
    moment = now()
    until = moment + timedelta(seconds=longest) + LEEWAY
    return task.locks.filter(expire_at__gt=moment, expire_at__lte=until)


def end_in_time() -> None:
    """Has Label Studio count these alone."""
    Task.num_locks = property(lambda task: held(task).count())
    Task.num_locks_user = lambda task, user: held(task).exclude(user=user).count()
