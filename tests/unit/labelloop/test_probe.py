"""The health check's question, to a server that is not ours."""

from urllib.parse import urlsplit

import pytest
from support.served import Handler, served

from labelloop import probe


class Stranger(Handler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"status": "UP"}')


def test_a_stranger_on_the_port_is_no_server_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(Stranger) as url:
        monkeypatch.setenv("TRAINER_BIND", urlsplit(url).netloc)
        assert probe.health("TRAINER_BIND", 0, "trainer") == (200, {"status": "UP"})
        with pytest.raises(
            probe.Unanswered, match="the trainer does not answer on .*no problems in its report"
        ):
            probe.health("TRAINER_BIND", 0, "trainer", "problems", "projects")
