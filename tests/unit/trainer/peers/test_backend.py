"""The trainer's client of the ML backend."""

import pytest
from support.a_project import a_project
from support.elsewhere import Elsewhere

from trainer.peers.backend import Backend, BackendError

TASK = {"id": 1, "data": {"image": "http://images.example/a.jpg?signature=s3cret"}}


@pytest.mark.parametrize("status", [302, 307])
def test_credentials_and_tasks_follow_no_redirect_to_another_server(status: int) -> None:
    with Elsewhere(status=status) as elsewhere:
        backend = Backend(elsewhere.url, "s3cret")
        with pytest.raises(BackendError, match="led from"):
            backend.predict(a_project(label_config="<View/>"), [TASK], "v0001")
        with pytest.raises(BackendError, match="led from"):
            backend.health()
    assert elsewhere.asked == ["POST", "GET"] and elsewhere.sent == []
