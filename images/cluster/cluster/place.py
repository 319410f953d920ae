"""Where this machine has what makes it a node of a cluster: a folder of files, an address and ports."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from labelloop import layout, ray_environment
from labelloop.errors import Explained


class NoPlace(Explained):
    """A node can't be started with the environment that it was given; the message names the variable."""


@dataclass(frozen=True)
class Place:
    """folder: of certificates, closed to all but its owner. address: this machine's, for the others. port:
    the first of its ports. token_file: Ray's token. shared: volumes/rounds/, which all nodes share.
    """

    folder: Path
    address: str
    port: int
    token_file: Path
    shared: Path

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Place":
        """CLUSTER_BIND, CLUSTER_PORT, SECRETS_DIR, LABELLOOP_HOME; of a node that joins, CLUSTER_HEAD.

        Raises:
            NoPlace: one of them is missing.
        """
        try:
            home, secrets = Path(environment["LABELLOOP_HOME"]), Path(environment["SECRETS_DIR"])
        except KeyError as error:
            raise NoPlace(f"{error.args[0]} is not set. `make up` and `make join` start nodes.") from error
        head = environment.get("CLUSTER_HEAD", "").rpartition(":")[0]
        return cls(
            folder=home / "volumes" / layout.CLUSTER,
            address=environment.get("CLUSTER_BIND") or (own_address(head) if head else own_address()),
            port=int(environment.get("CLUSTER_PORT") or layout.CLUSTER_PORT),
            token_file=secrets / "CLUSTER_TOKEN",
            shared=home / "volumes" / layout.ROUNDS,
        )

    @property
    def authority(self) -> Path:
        return self.folder / ray_environment.AUTHORITY

    @property
    def authority_key(self) -> Path:
        return self.folder / ray_environment.AUTHORITY_KEY

    @property
    def certificate(self) -> Path:
        return self.folder / ray_environment.CERTIFICATE

    @property
    def key(self) -> Path:
        return self.folder / ray_environment.KEY

    @property
    def join_file(self) -> Path:
        return self.folder / layout.JOIN_FILE

    @property
    def address_file(self) -> Path:
        return self.folder / layout.ADDRESS_FILE

    @property
    def mark(self) -> Path:
        return self.shared / layout.MARK_FILE

    @property
    def here(self) -> str:
        """Host and port of a head on this machine."""
        return f"{self.address}:{self.port}"

    @property
    def variables(self) -> dict[str, str]:
        """By which Ray's programs on this machine take part, whoever starts them."""
        return {
            **ray_environment.variables(self.folder, self.token_file),
            # How long a node that is stopped waits for what runs on it.
            "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "10",
            # A machine that trains beside may be slow to start them.
            "RAY_agent_register_timeout_ms": "60000",
        }


def own_address(towards: str = "192.0.2.1") -> str:
    """The address from which this machine would reach another one. Nothing is sent.

    Raises:
        NoPlace: there is no route.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((towards, 9))
        except OSError as error:
            raise NoPlace(
                "This machine has no route to any other, so no address for them. Name one in CLUSTER_BIND."
            ) from error
        return str(probe.getsockname()[0])


def put(path: Path, content: bytes) -> None:
    """Puts a file into the folder at once and whole, for its owner alone."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = path.with_name(f".{path.name}.{os.getpid()}")
    made.touch(mode=0o600)
    made.write_bytes(content)
    made.replace(path)
