"""Settings that nobody could mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from labelloop.settings import Settings
from lifecycle.console import Failure
from lifecycle.home import Home
from lifecycle.settings import settings

SHARED = ["THREADS", "TRAINING_PROCESSES", "SCORE_THRESHOLD", "RETRAIN_EVERY", "ITERATIONS",
          "HOLDOUT_PERCENT", "HOLDOUT_MIN", "GATE_CONFIDENCE", "IMPORT_EVERY", "COSTS"]  # fmt: skip
NAMES = [*SHARED, "PORT", "RUNTIME", "DETECTOR", "LABEL_CONFIG", "COMPOSE_PROJECT_NAME", "LOG_LEVEL", "BIND",
         "SUBNET", "ADMIN_EMAIL", "PROJECT_TITLE"]  # fmt: skip
ODD = ["", "-1", "1e9", "nan", "inf", "²", "١", "1_000", " 1", "+1", "0x10", "9" * 5000, "\0", "x" * 500,
       "../..", "configs", ".", "/", "~", "1.5", ".5", ".", "auto"]  # fmt: skip
VALUES = st.sampled_from(ODD) | st.integers().map(str) | st.floats().map(str) | st.text(max_size=8)


@pytest.mark.parametrize(
    ("name", "value", "needed"),
    [
        ("PORT", "abc", "a whole number from 1 to 65535"),
        ("PORT", "70000", "a whole number from 1 to 65535"),
        ("PORT", "²", "a whole number from 1 to 65535"),
        ("THREADS", "-1", "a whole number from 1 to 1024"),
        ("TRAINING_PROCESSES", "0", "a whole number from 1 to 64; or auto"),
        ("ITERATIONS", "1e9", "a whole number from 0 to 1000000"),
        ("RETRAIN_EVERY", "1.5", "a whole number from 0 to 1000000"),
        ("GATE_CONFIDENCE", "2", "a number from 0 to 1"),
        ("SCORE_THRESHOLD", "nan", "a number from 0 to 1"),
        ("IMPORT_EVERY", "inf", "a number from 0.1 to 86400"),
        ("IMPORT_EVERY", "0", "a number from 0.1 to 86400"),
        ("ROUND_MINUTES", "0", "a number from 0.1 to 1440"),
        ("ROUND_MINUTES", "1441", "a number from 0.1 to 1440"),
        ("HOLDOUT_PERCENT", "100", "a whole number from 1 to 90"),
        ("HOLDOUT_MIN", "0", "a whole number from 1 to 1000000"),
        ("LOG_LEVEL", "loud", "one of DEBUG, INFO"),
        ("COSTS", "cheap", "one of quick, careful"),
        ("COSTS", "", "one of quick, careful"),
        ("LABEL_CONFIG", "configs/labels", "a file below the repository"),
        ("LABEL_CONFIG", "x" * 5000, "a file below the repository"),
        ("LABEL_CONFIG", "\0", "a file below the repository"),
        ("DETECTOR", "../detectors/yolox_s", "one of auto"),
    ],
)
def test_the_setting_the_value_and_the_range_are_named(
    home: Home, name: str, value: str, needed: str
) -> None:
    with pytest.raises(Failure) as refused:
        settings.check(home, {name: value})
    assert str(refused.value).startswith(f"{name}: found {value!r}, needed {needed}")


@given(name=st.sampled_from(NAMES), value=VALUES)
def test_any_value_is_taken_or_refused_in_words(home: Home, name: str, value: str) -> None:
    try:
        settings.check(home, {name: value})
    except Failure as refused:
        assert f"{name}: found {value!r}, needed " in str(refused)


@given(name=st.sampled_from(SHARED), value=VALUES)
def test_what_make_takes_the_services_take(home: Home, name: str, value: str) -> None:
    try:
        settings.check(home, {name: value})
    except Failure:
        return
    try:
        Settings.model_validate({name.lower(): value})
    except ValidationError as error:
        pytest.fail(f"make takes {name}={value!r}, the services do not: {error}")


def test_a_bad_value_in_a_file_is_named_with_the_file(home: Home) -> None:
    (home.root / "configs/labels/everyday.xml").write_text("<View/>")
    settings.check_stored(home, {})
    home.local_settings.write_text("HOLDOUT_PERCENT=100\nDETECTOR=\n")
    with pytest.raises(Failure, match=r"HOLDOUT_PERCENT in .*local\.env: found '100', needed a whole number"):
        settings.check_stored(home, {})
    settings.check_stored(home, {"HOLDOUT_PERCENT": "20"})
    home.local_settings.unlink()
    home.env_file.write_text("PORT=abc\n")
    with pytest.raises(Failure, match=r"PORT in .*\.env: found 'abc'"):
        settings.check_stored(home, {})
