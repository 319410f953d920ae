"""Many files dropped on the import page at once."""

import io
import json
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest
from integration.labelstudio.test_provisioning import state
from integration.support.labelstudio import LabelStudio
from integration.support.people import Person, log_in
from PIL import Image
from requests import Response

LIMIT = 1000


@pytest.fixture
def project(provisioned: LabelStudio) -> Iterator[int]:
    config = provisioned.studio.project(state(provisioned)["project"])["label_config"]
    fields = {"title": "uploads", "label_config": config}
    made = provisioned.studio.request("POST", "/api/projects", json=fields)
    yield int(made["id"])
    provisioned.studio.request("DELETE", f"/api/projects/{made['id']}")


def drop(person: Person, project: int, number: int) -> Response:
    """What the page sends for so many images, and the answer."""
    content = io.BytesIO()
    Image.new("RGB", (4, 4)).save(content, "PNG")
    files = {f"{n}.png": (f"{n}.png", content.getvalue(), "image/png") for n in range(number)}
    csrf = {"X-CSRFToken": person.csrf}
    path = f"/api/projects/{project}/import?commit_to_project=false"
    return person.ask("POST", path, files=files, headers=csrf)


def test_more_images_than_django_takes_by_itself_are_taken(provisioned: LabelStudio, project: int) -> None:
    answer = drop(log_in(provisioned), project, 101)
    assert answer.status_code == 201, answer.text[:500]
    assert len(answer.json()["file_upload_ids"]) == 101


def test_beyond_the_limit_the_answer_says_it_and_the_way_out(provisioned: LabelStudio, project: int) -> None:
    answer = drop(log_in(provisioned), project, LIMIT + 1)
    assert answer.status_code == 400
    told = str(answer.json()["validation_errors"])
    assert "At most 1,000 files" in told and "volumes/images" in told
    assert "Traceback" not in answer.text


def test_more_bytes_than_label_studio_takes_are_refused_before_they_are_stored(
    provisioned: LabelStudio, project: int
) -> None:
    person = log_in(provisioned)
    session = "; ".join(f"{name}={value}" for name, value in person.session.cookies.items())
    connection = HTTPConnection(provisioned.url.removeprefix("http://"), timeout=30)
    connection.putrequest("POST", f"/api/projects/{project}/import")
    connection.putheader("Cookie", session)
    connection.putheader("Content-Type", "multipart/form-data; boundary=x")
    connection.putheader("Content-Length", str(270 << 20))
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 400
    [told] = json.loads(answer.read())["validation_errors"]["non_field_errors"]
    assert told.startswith("At most 250 MB of files can be uploaded at once, not 270.")


@pytest.mark.parametrize(
    ("path", "as_somebody"),
    [
        ("/user/login/", False),
        ("/projects/", False),
        ("/api/tasks/1/annotations/", True),
        ("/nowhere", False),
    ],
)
def test_what_anybody_may_send_is_bounded_before_it_is_read(
    provisioned: LabelStudio, path: str, as_somebody: bool
) -> None:
    """Sixteen requests at a time, of 250 MB each, would be more than the container's memory."""
    connection = HTTPConnection(provisioned.url.removeprefix("http://"), timeout=30)
    connection.putrequest("POST", path)
    if as_somebody:
        connection.putheader("Authorization", f"Token {provisioned.environment['API_TOKEN']}")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(11 << 20))
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413 and b"at most 10 MB here, not 11" in answer.read()
