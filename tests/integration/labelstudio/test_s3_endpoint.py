"""An S3 endpoint on the LAN: closed, until IMAGE_HOSTS names it, and then it alone."""

from collections.abc import Iterator

import pytest
from integration.labelstudio.test_provisioning import state
from integration.support.fake_s3 import BUCKET, KEY, FakeS3
from integration.support.labelstudio import LabelStudio
from integration.support.people import log_in
from pydantic import SecretStr

from labelloop.images import ImageError
from labelloop.settings import Settings
from labelloop.studio import StudioError
from labelloop.task_images import resolve_task_image


@pytest.fixture
def project(provisioned: LabelStudio) -> Iterator[int]:
    config = provisioned.studio.project(state(provisioned)["project"])["label_config"]
    made = provisioned.studio.request(
        "POST", "/api/projects", json={"title": "bucket", "label_config": config}
    )
    yield int(made["id"])
    provisioned.studio.request("DELETE", f"/api/projects/{made['id']}")


def storage(project: int, endpoint: str) -> dict[str, object]:
    return {
        "project": project,
        "bucket": BUCKET,
        "s3_endpoint": endpoint,
        "aws_access_key_id": "key",
        "aws_secret_access_key": "secret",
        "regex_filter": ".*png",
        "use_blob_urls": True,
        "recursive_scan": True,
    }


def test_the_endpoint_that_image_hosts_names_gives_tasks_and_pictures(
    provisioned: LabelStudio, project: int, s3: FakeS3
) -> None:
    studio = provisioned.studio
    made = studio.request("POST", "/api/storages/s3", json=storage(project, s3.url))
    studio.request("POST", f"/api/storages/s3/{made['id']}/sync", json={})
    [task] = studio.iter_tasks(project)
    url = str(task["data"]["image"])
    answer = log_in(provisioned).get(url)
    assert answer.status_code in (302, 303)
    assert answer.headers["Location"].startswith(f"{s3.url}/{BUCKET}/{KEY}?")
    token = provisioned.environment["API_TOKEN"]
    loop = Settings(labelstudio_url=provisioned.url, api_token=SecretStr(token))
    s3.asked.clear()
    with pytest.raises(ImageError, match="or name the host in IMAGE_HOSTS"):
        resolve_task_image(url, loop)
    assert s3.asked == []
    opened = loop.model_copy(update={"image_hosts": s3.url})
    assert resolve_task_image(url, opened)
    [(path, authorization)] = s3.asked
    assert path.startswith(f"/{BUCKET}/{KEY}?") and token not in path
    assert authorization is None


def test_another_endpoint_of_an_internal_network_stays_closed(
    provisioned: LabelStudio, project: int, s3: FakeS3
) -> None:
    with FakeS3() as other:
        port = s3.url.rpartition(":")[2]
        for endpoint in (other.url, f"http://localhost:{port}", f"https://127.0.0.1:{port}", f"{s3.url}0"):
            with pytest.raises(StudioError, match="400|403|reserved"):
                provisioned.studio.request("POST", "/api/storages/s3", json=storage(project, endpoint))
        assert other.asked == []
