"""Which kinds of storages a project has: one statement tells.

Label Studio asks each of its kinds for the project's storages, and for a task's place in them, when a task
is opened; and for storages to export to, whenever an annotation is stored. Most projects have one storage.
"""

from collections.abc import Collection, Iterable, Iterator
from functools import cache
from typing import Any

from django.db.models import Exists, OneToOneRel, OuterRef
from django.db.models.signals import post_save
from django.utils.functional import cached_property
from io_storages.azure_blob.models import AzureBlobExportStorage, export_annotation_to_azure_storages
from io_storages.gcs.models import GCSExportStorage, export_annotation_to_gcs_storages
from io_storages.localfiles.models import LocalFilesExportStorage, export_annotation_to_local_files
from io_storages.models import get_storage_classes
from io_storages.redis.models import RedisExportStorage, export_annotation_to_redis_storages
from io_storages.s3.models import S3ExportStorage, export_annotation_to_s3_storages
from projects.models import Project
from tasks.models import Annotation, Task

_EXPORTS = {
    AzureBlobExportStorage: export_annotation_to_azure_storages,
    GCSExportStorage: export_annotation_to_gcs_storages,
    LocalFilesExportStorage: export_annotation_to_local_files,
    RedisExportStorage: export_annotation_to_redis_storages,
    S3ExportStorage: export_annotation_to_s3_storages,
}


def ask_at_once() -> None:
    """Has Label Studio look for a project's storages among those of the kinds that it has."""
    found = cached_property(_imports)
    found.__set_name__(Project, "get_all_import_storage_objects")
    Project.get_all_import_storage_objects = found
    for export in _EXPORTS.values():
        if not post_save.disconnect(export, sender=Annotation):
            raise RuntimeError(f"{export.__name__} isn't what Label Studio calls; it would export twice")
    post_save.connect(_export, sender=Annotation, dispatch_uid="labelloop-export")


def with_links(tasks: Any) -> Any:
    """Tasks, of which `links` can tell by which names they lead to their places in storages."""
    theirs = OuterRef("pk")
    found = {_mark(link): Exists(link.related_model.objects.filter(task=theirs)) for link in _links()}
    return tasks.annotate(**found)


def links(task: Any) -> Iterator[str]:
    """The names by which a task of `with_links` leads to its places in storages."""
    return (link.get_accessor_name() for link in _links() if getattr(task, _mark(link)))


def note_absent(task: Any, there: Collection[str]) -> None:
    """Has a task lead nowhere else: Label Studio asks by each name until one does."""
    for link in _links():
        if link.get_accessor_name() not in there:
            link.set_cached_value(task, None)


def _imports(project: Any) -> list[Any]:
    """As Label Studio's own, which leaves out local storages."""
    kinds = get_storage_classes("import")
    there = _kinds(project, kinds)
    return [storage for kind in kinds if kind in there for storage in kind.objects.filter(project=project)]


def _export(sender: Any, instance: Any, **more: Any) -> None:
    there = _kinds(instance.project, _EXPORTS) if instance.project is not None else ()
    for kind, export in _EXPORTS.items():
        if kind in there:
            export(sender, instance, **more)


def _kinds(project: Any, kinds: Iterable[Any]) -> set[Any]:
    """Of these kinds of storages, those that the project has."""
    named = {f"kind{number}": kind for number, kind in enumerate(kinds)}
    exist = {name: Exists(kind.objects.filter(project=OuterRef("pk"))) for name, kind in named.items()}
    told = Project.all_objects.filter(pk=project.pk).values(**exist).first() or {}
    return {kind for name, kind in named.items() if told.get(name)}


def _mark(link: OneToOneRel) -> str:
    return f"labelloop_{link.get_accessor_name()}"


@cache
def _links() -> tuple[OneToOneRel, ...]:
    """The relations by which tasks lead to their places in storages."""
    return tuple(
        relation
        for relation in Task._meta.related_objects
        if isinstance(relation, OneToOneRel) and relation.get_accessor_name().startswith("io_storages_")
    )
