"""What Label Studio may fetch for people who import by URL: nothing of internal networks."""

import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest
from integration.labelstudio.test_provisioning import state
from integration.support.fake_s3 import FakeS3
from integration.support.labelstudio import LabelStudio
from integration.support.people import Person, log_in

METADATA = "169.254.169.254"


@pytest.fixture(scope="module")
def boss(provisioned: LabelStudio) -> Person:
    return log_in(provisioned)


@pytest.fixture(scope="module")
def project(provisioned: LabelStudio) -> Iterator[int]:
    config = provisioned.studio.project(state(provisioned)["project"])["label_config"]
    made = provisioned.studio.request(
        "POST", "/api/projects", json={"title": "by URL", "label_config": config}
    )
    yield int(made["id"])
    provisioned.studio.request("DELETE", f"/api/projects/{made['id']}")


def import_from(boss: Person, project: int, url: str) -> tuple[int, str]:
    headers = {"X-CSRFToken": boss.csrf}
    answer = boss.ask("POST", f"/api/projects/{project}/import", data={"url": url}, headers=headers)
    return answer.status_code, answer.text


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    """A service of this host; whoever connects waits in its queue."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def connections(listener: socket.socket) -> int:
    """How many were made since the last call."""
    made = 0
    with suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
            made += 1
    return made


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:{port}",
        "localhost:{port}",
        "127.1:{port}",
        "2130706433:{port}",
        "0.0.0.0:{port}",
        "[::1]:{port}",
        "[::ffff:127.0.0.1]:{port}",
        METADATA,
        "0xa9fea9fe",
        "10.213.0.2:9090",
        "172.17.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "[fd00:ec2::254]",
    ],
)
def test_no_address_of_an_internal_network_is_asked(
    boss: Person, project: int, listener: socket.socket, host: str
) -> None:
    port = listener.getsockname()[1]
    status, text = import_from(boss, project, f"http://{host.format(port=port)}/health.json")
    assert status == 400, (status, text[:300])
    assert connections(listener) == 0


def test_a_host_of_image_hosts_is_not_opened_to_it(boss: Person, project: int, s3: FakeS3) -> None:
    s3.asked.clear()
    status, _ = import_from(boss, project, f"{s3.url}/a.json")
    assert status == 400 and s3.asked == []


def test_label_studio_says_who_it_is(provisioned: LabelStudio) -> None:
    """To hosts that people import from, some of which refuse `python-requests`."""
    program = (
        "from provisioner import django_app; django_app.setup(); import requests; "
        "print(requests.Session().headers['User-Agent'])"
    )
    assert provisioned.run_program(program).splitlines()[-1].startswith("labelloop/1 ")
