"""An annotation survives its prediction.

The labelling page names the prediction that an annotation was begun from. If that prediction was deleted in
the meantime, Label Studio refuses the annotation, and a person's work is lost. Here the annotation is stored
without naming a prediction.
"""

from typing import Any

from rest_framework.exceptions import ValidationError
from rest_framework.relations import PrimaryKeyRelatedField
from tasks.serializers import AnnotationSerializer

PARENT = "parent_prediction"


class SurvivingField(PrimaryKeyRelatedField):  # type: ignore[misc]
    """Gives None for a parent prediction that is gone; everything else is checked as ever."""

    def to_internal_value(self, data: Any) -> Any:
        try:
            return super().to_internal_value(data)
        except ValidationError as error:
            if self.field_name == PARENT and "does_not_exist" in error.get_codes():
                return None
            raise


def survive_them() -> None:
    """Has every serializer of annotations use SurvivingField."""
    AnnotationSerializer.serializer_related_field = SurvivingField
