"""The time to correct what a model got wrong."""

import pytest

from trainer.dashboard.agreement import Agreement, Finding, seconds
from trainer.judging.effort import CAREFUL, QUICK


@pytest.mark.parametrize(
    ("kind", "quick", "careful"),
    [
        (Agreement.RIGHT, 0.5, 1.7),
        (Agreement.LOOSE, 3.5, 4.5),
        (Agreement.WRONG_LABEL, 3.5, 3.0),
        (Agreement.MISSED, 7.0, 7.0),
        (Agreement.SPURIOUS, 1.0, 2.0),
    ],
)
def test_each_kind_has_its_own_cost(kind: Agreement, quick: float, careful: float) -> None:
    findings = [Finding(kind, 0, 0)] * 2
    assert (seconds(findings, QUICK), seconds(findings, CAREFUL)) == (2 * quick, 2 * careful)
