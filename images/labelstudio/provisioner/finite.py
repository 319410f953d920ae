"""Numbers that are none are refused where they come in.

Label Studio's API takes "inf" and 1e999 for an annotation's seconds, and stores that. No JSON can hold it:
from then on every answer with that annotation in it fails, and with it all that reads the project's labels.
"""

import math
from typing import Any

from rest_framework.fields import FloatField


def refuse_infinite() -> None:
    """Has every field of Label Studio's API that takes a number answer 400 to infinity and to NaN."""
    label_studios = FloatField.to_internal_value

    def to_internal_value(field: Any, data: Any) -> float:
        value: float = label_studios(field, data)
        if not math.isfinite(value):
            field.fail("invalid")
        return value

    FloatField.to_internal_value = to_internal_value
