"""A deletion turns Django's signals off for itself alone.

Label Studio deletes a project, or many tasks, without the signals that count annotations and predictions. It
takes the receivers away from the whole process: the other requests of that time go uncounted, and two such
deletions at once leave none. Worse, Django remembers the models that it asked about meanwhile as having no
receivers, so that in this process deleted predictions are never counted again. Here the receivers stay where
they are, and only the request that deletes does not see them.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import organizations.functions
import projects.api
import tasks.models
from django.db.models.signals import post_delete, post_save, pre_delete, pre_save
from django.dispatch import Signal

Receivers = tuple[list[Any], list[Any]]
_SIGNALS = (pre_save, post_save, pre_delete, post_delete)
_hushed: ContextVar[frozenset[object]] = ContextVar("hushed", default=frozenset())
"""What the current request does not see: signals, or pairs of a signal and a receiver."""


@contextmanager
def _without(hushed: Iterable[object]) -> Iterator[None]:
    token = _hushed.set(_hushed.get() | frozenset(hushed))
    try:
        yield
    finally:
        _hushed.reset(token)


def _without_all() -> Any:
    return _without(_SIGNALS)


def _without_some(signals: Iterable[tuple[Signal, Callable[..., None], type]]) -> Any:
    return _without((signal, receiver) for signal, receiver, _ in signals)


def _hush(signal: Signal) -> None:
    live_receivers = signal._live_receivers

    def seen(sender: type) -> Receivers:
        hushed = _hushed.get()
        if signal in hushed:
            return [], []
        synchronous, asynchronous = live_receivers(sender)
        if not hushed:
            return synchronous, asynchronous
        return [receiver for receiver in synchronous if (signal, receiver) not in hushed], asynchronous

    signal._live_receivers = seen


def stay_for_others() -> None:
    """Has Label Studio's deletions hush the signals for themselves instead of disconnecting them."""
    for signal in _SIGNALS:
        _hush(signal)
    projects.api.temporary_disconnect_all_signals = _without_all
    organizations.functions.temporary_disconnect_all_signals = _without_all
    tasks.models.temporary_disconnect_list_signal = _without_some
