"""An annotation survives its prediction.

The labelling page names the prediction that an annotation was begun from. Where that is gone meanwhile, Label
Studio refuses the annotation, and with it a person's work; here it is stored without naming one.
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
    """Has every serializer of annotations do so."""
    AnnotationSerializer.serializer_related_field = SurvivingField
