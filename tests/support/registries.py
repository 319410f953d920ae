"""Debian's docker-registry, served for a test; a checkout whose images are a file each; their removal."""

import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from support.stack import wait_for

from lifecycle.build import images
from lifecycle.engine import SERVICES
from lifecycle.home import Home
from lifecycle.shell import answer

REPO = Path(__file__).parents[2]
FLAVOUR = "published-in-a-test"
"""In the accelerator's place, so that no image of this machine's own is touched."""
NAMES = {service: f"labelloop-published-in-a-test/{service}" for service in SERVICES}


@contextmanager
def registry_at(
    folder: Path, host: str, port: int, tls: str = "", auth: str = "", inside: Sequence[str] = ()
) -> Iterator[str]:
    """Serves an empty registry. tls, auth: of its configuration, in YAML. inside: the command that runs it on
    another network, where it is not waited for. Yields a prefix in it.
    """
    config = folder / "registry.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder / 'registry'}}}}}\n"
        f"http: {{addr: '{host}:{port}'{tls and f', tls: {tls}'}}}\n{auth and f'auth: {auth}'}\n"
    )
    program = shutil.which("docker-registry")
    assert program, "`apt-get install docker-registry` has the registry of this test"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*inside, program, "serve", str(config)], **quiet) as serving:
        try:
            if not inside:
                wait_for("the registry", lambda: _answers(host, port), 60, every=0.1)
            yield f"{host}:{port}/team/labelloop"
        finally:
            serving.terminate()


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def small_checkout(root: Path) -> Home:
    for name in ("docker-compose.yml", "docker-bake.hcl", "configs/loop.env"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPO / name, root / name)
    (root / "configs/local.env").touch()
    for service in ("base", *SERVICES):
        (root / "images" / service).mkdir(parents=True)
        (root / "images" / service / "Dockerfile").write_text(
            f"FROM scratch\nCOPY images/{service}/Dockerfile /{service}\n"
        )
    return Home(root)


def versions(home: Home) -> dict[str, str]:
    return {name: each for name, each in images.versions(home, FLAVOUR, None).items() if name in SERVICES}


def forget(at: str) -> None:
    """Has the engine know the images no longer, by none of their names."""
    ours = (f"{at}/*", "labelloop-published-in-a-test/*")
    filters = [word for name in ours for word in ("--filter", f"reference={name}")]
    if ids := answer(["docker", "images", "--all", "--quiet", *filters]):
        answer(["docker", "image", "rm", "--force", *{*ids.split()}])
