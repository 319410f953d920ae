"""One provisioned Label Studio for most tests; fresh ones for those that kill or change accounts."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from integration.support.bucket_server import BucketServer
from integration.support.fake_backend import FakeBackend
from integration.support.fake_s3 import FakeS3
from integration.support.labelstudio import BACKEND_PASSWORD, BIN, NAMED_ADMIN, LabelStudio
from integration.support.postgres import Postgres

PUBLIC_URL = "https://labels.example"
DEAD_PROXY = "http://127.0.0.1:9"
"""For what is outside. All that a test sees happen went past it, to services of the stack."""


@pytest.fixture(scope="session", autouse=True)
def interpreter() -> None:
    if not (BIN / "python").exists():
        pytest.fail(
            f"no Label Studio at {BIN}; `make build RUNTIME=host` makes it, or set LABELSTUDIO_BIN to another"
        )


@pytest.fixture(scope="session")
def backend() -> Iterator[FakeBackend]:
    fake = FakeBackend(BACKEND_PASSWORD).start()
    yield fake
    fake.stop()


@pytest.fixture(scope="session")
def s3() -> Iterator[FakeS3]:
    with FakeS3() as fake:
        yield fake


@pytest.fixture(scope="session")
def bucket_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BucketServer]:
    with BucketServer(tmp_path_factory.mktemp("buckets")) as server:
        yield server


@pytest.fixture(scope="session")
def provisioned(
    tmp_path_factory: pytest.TempPathFactory, backend: FakeBackend, s3: FakeS3, bucket_server: BucketServer
) -> Iterator[LabelStudio]:
    label_studio = LabelStudio(tmp_path_factory.mktemp("home"), backend.url)
    label_studio.environment |= {
        "PUBLIC_URL": PUBLIC_URL,
        "ADMINS": NAMED_ADMIN,
        "IMAGE_HOSTS": f"{s3.url},{bucket_server.url}",
        "HTTP_PROXY": DEAD_PROXY,
        "HTTPS_PROXY": DEAD_PROXY,
    }
    made = label_studio.run("provisioner.template", timeout=600)
    assert made.returncode == 0, made.stderr
    try:
        label_studio.start()
        done = label_studio.provision()
        assert done.returncode == 0, done.stderr + label_studio.log[-3000:]
        yield label_studio
    finally:
        label_studio.stop(hard=True)


@pytest.fixture
def fresh(
    tmp_path: Path, provisioned: LabelStudio, backend: FakeBackend
) -> Iterator[Callable[[], LabelStudio]]:
    """Makes Label Studios with an empty home each, not started."""
    made: list[LabelStudio] = []

    def make() -> LabelStudio:
        home = tmp_path / f"home{len(made)}"
        home.mkdir()
        made.append(LabelStudio(home, backend.url))
        return made[-1]

    yield make
    for label_studio in made:
        label_studio.stop(hard=True)


@pytest.fixture(scope="session")
def postgres(provisioned: LabelStudio) -> Iterator[Postgres]:
    """Its first database is migrated and empty, and nobody is connected to it."""
    with Postgres() as server:
        server.migrate()
        yield server
