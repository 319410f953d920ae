"""What is sent on as a session of Label Studio's, and what is not."""

import pytest

from labelloop.cookies import session_value


@pytest.mark.parametrize("value", [".eJxVjMEOwiAQRP-F:1vOq2a:Zk3b_9-x", "e30:1vOq2a:abc="])
def test_what_label_studio_signs_is_a_session(value: str) -> None:
    assert session_value(value) == value


@pytest.mark.parametrize(
    "value",
    [None, "", "short", "a" * 5000, "abcdefgh; other=1", "abcdefgh\r\nX: y", "abcdefgh é", '"abcdefgh"'],
)
def test_what_would_break_out_of_a_header_is_none(value: str | None) -> None:
    assert session_value(value) is None
