"""Who answers at the address of a cluster's head."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Thread

import pytest

from cluster.certificates import Certificate, issue, make_authority
from labelloop import reach

HERE = "127.0.0.1"


@contextmanager
def answering(own: Certificate | None, tmp_path: Path) -> Iterator[str]:
    """A server with that certificate, or one without TLS; gives host and port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if own is not None:
        (tmp_path / "own.pem").write_bytes(own.certificate + own.key)
        context.load_cert_chain(tmp_path / "own.pem")
    with socket.create_server((HERE, 0)) as server:

        def serve() -> None:
            try:
                taken, _ = server.accept()
                with taken:
                    if own is None:
                        taken.sendall(b"no TLS here\r\n\r\n")
                    else:
                        context.wrap_socket(taken, server_side=True).close()
            except OSError:  # whoever called hung up, or nobody did
                return

        thread = Thread(target=serve, daemon=True)
        thread.start()
        yield f"{HERE}:{server.getsockname()[1]}"
        server.close()


@pytest.fixture(scope="module")
def authority() -> Certificate:
    return make_authority()


def test_the_head_of_this_authority_answers(authority: Certificate, tmp_path: Path) -> None:
    with answering(issue(authority, [HERE]), tmp_path) as head:
        assert reach.greet(head, authority.certificate.decode()) == head


def test_a_name_is_answered_with_the_address_that_nodes_call(authority: Certificate, tmp_path: Path) -> None:
    with answering(issue(authority, [HERE]), tmp_path) as head:
        named = head.replace(HERE, "localhost")
        assert reach.greet(named, authority.certificate.decode()) == head


def test_another_authority_is_told_with_the_way_out(authority: Certificate, tmp_path: Path) -> None:
    with (
        answering(issue(make_authority(), [HERE]), tmp_path) as head,
        pytest.raises(reach.Stranger, match=r"another authority.*join\.json"),
    ):
        reach.greet(head, authority.certificate.decode())


def test_a_certificate_of_another_address_is_told(authority: Certificate, tmp_path: Path) -> None:
    with (
        answering(issue(authority, ["10.0.0.9"]), tmp_path) as head,
        pytest.raises(reach.Stranger, match="names another address.*CLUSTER_BIND"),
    ):
        reach.greet(head, authority.certificate.decode())


def test_a_certificate_that_is_over_may_be_the_clock(authority: Certificate, tmp_path: Path) -> None:
    with (
        answering(issue(authority, [HERE], timedelta(seconds=-30)), tmp_path) as head,
        pytest.raises(reach.Stranger, match="out of date by this machine's clock"),
    ):
        reach.greet(head, authority.certificate.decode())


def test_what_speaks_no_tls_is_no_head(authority: Certificate, tmp_path: Path) -> None:
    with answering(None, tmp_path) as head, pytest.raises(reach.Stranger, match="speaks no TLS"):
        reach.greet(head, authority.certificate.decode())


def test_nobody_answers(authority: Certificate) -> None:
    with socket.create_server((HERE, 0)) as server:
        closed = server.getsockname()[1]
    with pytest.raises(reach.NotReached, match=rf"{HERE}:{closed} does not answer \(.*CLUSTER_BIND"):
        reach.greet(f"{HERE}:{closed}", authority.certificate.decode())


@pytest.mark.parametrize("head", ["", "10.0.0.5", "10.0.0.5:", "10.0.0.5:70000", "a b:1", "[::1]:6379"])
def test_what_is_no_host_and_port_is_told(head: str) -> None:
    with pytest.raises(reach.NotReached, match="is no host and port"):
        reach.parse(head)
