"""From a task's URL to its file, and nowhere else."""

import base64
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from labelloop import task_images
from labelloop.images import ImageError
from labelloop.outside import Outside
from labelloop.settings import Settings
from labelloop.task_images import image_name, resolve_task_image


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings(labelloop_home=tmp_path, labelstudio_url="http://labelstudio:8080", api_token="t0ken")
    (made.images_dir / "sub").mkdir(parents=True)
    (made.uploads_dir / "3").mkdir(parents=True)
    (made.images_dir / "sub" / "a.jpg").write_bytes(b"image")
    (made.uploads_dir / "3" / "b c.jpg").write_bytes(b"upload")
    (made.volumes_dir / "secret.jpg").write_bytes(b"secret")
    (made.labelstudio_dir / "label_studio.sqlite3").write_bytes(b"secret")
    return made


@pytest.mark.parametrize(
    "url",
    [
        "/data/local-files/?d=images/sub/a.jpg",
        "/data/local-files?d=images/sub/a.jpg",
        "/data/local-files/?d=images%2Fsub%2Fa.jpg",
        " /data/local-files/?d=images/sub/a.jpg\n",
        "/data/local-files/?d=/images/sub/a.jpg",
        "/data/local-files/?d=images/sub/../sub/a.jpg",
        "http://localhost:8080/data/local-files/?d=images/sub/a.jpg",
        "http://labelstudio:8080/data/local-files/?d=images/sub/a.jpg",
        "https://labels.example.com/label-studio/data/local-files/?d=images/sub/a.jpg",
    ],
)
def test_local_files_under_any_host_name(settings: Settings, url: str) -> None:
    assert resolve_task_image(url, settings) == settings.images_dir / "sub" / "a.jpg"


@pytest.mark.parametrize(
    "url",
    [
        "/data/upload/3/b%20c.jpg",
        "/data/upload/3/b c.jpg",
        "http://localhost:8080/data/upload/3/b%20c.jpg",
        "/storage-data/uploaded/?filepath=upload/3/b%20c.jpg",
    ],
)
def test_uploads(settings: Settings, url: str) -> None:
    assert resolve_task_image(url, settings) == settings.uploads_dir / "3" / "b c.jpg"


@pytest.mark.parametrize("name", ['ein "großes" 浣熊.jpg', "a+b&c=d#e?f%20.jpg", "  .jpg", "a;b.jpg"])
def test_names_as_label_studio_quotes_them(settings: Settings, name: str) -> None:
    (settings.images_dir / name).write_bytes(b"image")
    assert (
        resolve_task_image("/data/local-files/?d=" + quote(f"images/{name}"), settings)
        == settings.images_dir / name
    )


@pytest.mark.parametrize(
    "url",
    [
        "/data/local-files/?d=images/../secret.jpg",
        "/data/local-files/?d=secret.jpg",
        "/data/local-files/?d=../../../../../../etc/passwd",
        "/data/local-files/?d=/etc/passwd",
        "/data/local-files/?d=labelstudio/label_studio.sqlite3",
        "/data/local-files/?d=images/out/secret.jpg",
        "/data/local-files/?d=images/link.jpg",
        "/data/local-files/?d=",
        "/data/local-files/",
        "/data/upload/../../label_studio.sqlite3",
        "/data/upload/%2e%2e/%2e%2e/label_studio.sqlite3",
        "/data/upload//etc/passwd",
        "/storage-data/uploaded/?filepath=../label_studio.sqlite3",
        "/storage-data/uploaded/?filepath=/etc/passwd",
        "file:///etc/passwd",
        "ftp://host/a.jpg",
    ],
)
def test_nothing_outside_the_folders_is_read(settings: Settings, url: str) -> None:
    (settings.images_dir / "out").symlink_to(settings.volumes_dir)
    (settings.images_dir / "link.jpg").symlink_to(settings.volumes_dir / "secret.jpg")
    with pytest.raises(ImageError):
        resolve_task_image(url, settings)


def test_the_image_folder_itself_may_be_a_link(settings: Settings, tmp_path: Path) -> None:
    share = tmp_path / "share"
    settings.images_dir.rename(share)
    settings.images_dir.symlink_to(share)
    assert resolve_task_image("/data/local-files/?d=images/sub/a.jpg", settings) == share / "sub" / "a.jpg"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (None, "no image URL"),
        ("", "no image URL"),
        (["a"], "no image URL"),
        ("/data/local-files/?d=images/gone.jpg", "there is no file"),
        ("/data/local-files/?d=images/sub", "not a file"),
        ("http://localhost:8080/data/local-files/?d=images/gone.jpg", "there is no file"),
        ("/data/local-files/?d=images/a%00b.jpg", "null"),
        ("/data/local-files/?d=images/" + "x" * 300, "name too long"),
        ("http://[::1", "Invalid IPv6"),
        ("http://host:port/a.jpg", "not a URL"),
        ("ssh://host/a.jpg", "ssh: URLs are not read"),
        ("data:image/png,abc", "not base64"),
        ("data:image/png;base64,a", "data: URI"),
    ],
)
def test_the_reason_is_clear(settings: Settings, url: object, words: str) -> None:
    with pytest.raises(ImageError, match=r"(?i).*" + words.replace("(", r"\(")):
        resolve_task_image(url, settings)


def test_data_uri(settings: Settings) -> None:
    uri = "data:image/png;base64," + base64.b64encode(b"image").decode()
    assert resolve_task_image(uri, settings) == b"image"
    assert image_name(uri) == "data: URI"


class Downloads:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[str, str, str | None]] = []
        monkeypatch.setattr(task_images, "download", self)

    def __call__(
        self,
        url: str,
        trusted: str,
        token: str | None = None,
        outside: Outside = Outside(),  # noqa: B008
    ) -> bytes:
        self.asked.append((url, trusted, token))
        return b"image"


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> Downloads:
    return Downloads(monkeypatch)


def test_http_urls_are_downloaded(settings: Settings, downloads: Downloads) -> None:
    url = "https://bucket.example.com/a%20b.jpg?X-Amz-Signature=abc&x=1"
    assert resolve_task_image(url, settings) == b"image"
    assert downloads.asked[0][0] == url


def test_a_foreign_hosts_local_files_are_downloaded_when_we_have_no_such_file(
    settings: Settings, downloads: Downloads
) -> None:
    url = "https://other.example.com/data/local-files/?d=images/gone.jpg"
    assert resolve_task_image(url, settings) == b"image"
    assert downloads.asked[0][0] == url


def test_what_label_studio_serves_is_asked_of_label_studio(settings: Settings, downloads: Downloads) -> None:
    resolve_task_image("/tasks/5/resolve/?fileuri=abc", settings)
    assert downloads.asked == [
        ("http://labelstudio:8080/tasks/5/resolve/?fileuri=abc", "http://labelstudio:8080", "t0ken")
    ]


def test_without_a_token_label_studio_is_not_asked(settings: Settings, downloads: Downloads) -> None:
    bare = settings.model_copy(update={"api_token": None})
    for url in ("/tasks/5/resolve/?fileuri=abc", "s3://bucket/a.jpg"):
        with pytest.raises(ImageError, match="API_TOKEN"):
            resolve_task_image(url, bare, task_id=5)
    assert downloads.asked == []


@pytest.mark.parametrize("url", ["s3://bucket/a b.jpg", "gs://bucket/a.jpg", "azure-blob://container/a.jpg"])
def test_cloud_urls_are_resolved_by_label_studio(settings: Settings, downloads: Downloads, url: str) -> None:
    assert resolve_task_image(url, settings, task_id=5) == b"image"
    asked = downloads.asked[0][0]
    assert asked.startswith("http://labelstudio:8080/tasks/5/resolve/?fileuri=")
    assert base64.urlsafe_b64decode(asked.partition("fileuri=")[2].replace("%3D", "=")).decode() == url


def test_cloud_url_without_a_task_says_why(settings: Settings) -> None:
    with pytest.raises(ImageError, match=r"s3://bucket/a\.jpg.*did not resolve"):
        resolve_task_image("s3://bucket/a.jpg", settings)


@given(url=st.text(max_size=60) | st.text(max_size=30).map(lambda t: "/data/local-files/?d=images/" + t))
@hypothesis_settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_text_ends_in_a_file_inside_or_an_image_error(settings: Settings, url: str) -> None:
    bare = settings.model_copy(update={"api_token": None})
    image_name(url)
    try:
        found = resolve_task_image(url, bare)
    except ImageError:
        return
    assert isinstance(found, bytes) or found.is_relative_to(settings.images_dir)
