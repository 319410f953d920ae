"""What an organisation or a project has one of is read as any other row.

Label Studio makes such a row when it is first looked for, and takes a transaction for each look. On SQLite a
transaction waits for all who write (django_settings.py): so did each request with an API token.
"""

from typing import Any

from annoying.fields import AutoSingleRelatedObjectDescriptor
from django.db.models.fields.related_descriptors import ReverseOneToOneDescriptor


def read_without_transaction() -> None:
    """Has a transaction taken only for a row that is to be made."""
    label_studios = AutoSingleRelatedObjectDescriptor.__get__

    def read(descriptor: Any, instance: Any, kind: Any = None) -> Any:
        try:
            return ReverseOneToOneDescriptor.__get__(descriptor, instance, kind)
        except descriptor.related.related_model.DoesNotExist:
            return label_studios(descriptor, instance, kind)

    AutoSingleRelatedObjectDescriptor.__get__ = read
