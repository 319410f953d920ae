"""What a head makes before it starts: authority, certificate, the file for others, and its mark."""

import os
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from support.stack import wait_for

from cluster import head, ray_node
from cluster.place import NoPlace, Place
from cluster.ray_node import Announcement
from labelloop.join_file import JoinFile, Mark


@pytest.fixture
def place(tmp_path: Path) -> Place:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (tmp_path / "volumes/rounds").mkdir(parents=True)
    (secrets / "CLUSTER_TOKEN").write_text("token\n")
    environment = {"LABELLOOP_HOME": str(tmp_path), "SECRETS_DIR": str(secrets)}
    return Place.of({**environment, "CLUSTER_BIND": "10.0.0.5", "CLUSTER_PORT": "7000"})


def test_others_find_all_they_need_in_one_file_that_is_closed(place: Place) -> None:
    mark = head.prepare(place, "0a1b2c")
    joining = JoinFile.read(place.join_file)
    assert joining.head == "10.0.0.5:7000" == place.address_file.read_text().strip()
    assert (joining.token, joining.version, joining.mark) == ("token", "0a1b2c", mark)
    context = ssl.create_default_context(cadata=joining.authority)
    context.load_cert_chain(place.certificate, place.key)
    for path in place.folder.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    assert place.folder.stat().st_mode & 0o077 == 0


def test_authority_and_mark_stay_and_the_certificate_names_the_present_address(place: Place) -> None:
    first = head.prepare(place, "one")
    authority = place.authority.read_bytes()
    moved = Place(place.folder, "10.0.0.6", place.port, place.token_file, place.shared)
    assert head.prepare(moved, "two") == first
    assert place.authority.read_bytes() == authority
    certificate = x509.load_pem_x509_certificate(place.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == [
        "10.0.0.6",
        "127.0.0.1",
    ]


def test_without_a_token_nothing_is_made(place: Place) -> None:
    place.token_file.unlink()
    with pytest.raises(NoPlace, match="CLUSTER_TOKEN is not there"):
        head.prepare(place, "")
    assert not place.folder.exists()


def test_the_mark_is_renewed_and_a_full_disk_ends_nothing(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    head.renew(place, "mark")
    assert Mark.read(place.mark).clock_difference() == 0.0
    head.renew(Place(place.folder, "10.0.0.5", 1, place.token_file, place.shared / "gone"), "mark")
    assert "can't be written" in capsys.readouterr().err


def test_it_ends_with_rays_programs(place: Place) -> None:
    assert head.run(place, "mark", ["sh", "-c", "exit 3"], {}) == 3


_RUNS = """
import sys
from pathlib import Path
from cluster.head import run
from cluster.place import Place
folder = Path(sys.argv[1])
run(Place(folder, "", 1, folder, folder), "mark", ["sh", "-c", f"echo $$ > {folder}/pid && sleep 100"], {})
"""


def test_rays_programs_end_with_a_head_that_was_killed(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", _RUNS, str(tmp_path)], env=environment) as killed:
        pid = tmp_path / "pid"
        wait_for("the program", lambda: pid.exists() and pid.read_text(), 60, 0.1)
        killed.kill()
    status = Path("/proc", pid.read_text().strip(), "status")
    wait_for("its end", lambda: not status.exists() or "(zombie)" in status.read_text(), 30, 0.1)


@pytest.mark.parametrize("missing", ["LABELLOOP_HOME", "SECRETS_DIR"])
def test_a_variable_that_is_missing_is_named(missing: str) -> None:
    given = {"LABELLOOP_HOME": "/a", "SECRETS_DIR": "/b", "CLUSTER_BIND": "10.0.0.5"}
    del given[missing]
    with pytest.raises(NoPlace, match=missing):
        Place.of(given)


def test_rays_words(place: Place) -> None:
    announced = Announcement({"labelloop-code-0a": 1000}, {"labelloop-version": "0a"})
    words = ray_node.start_words(place, announced, {"THREADS": "8"})
    assert "--head" in words and "--port=7000" in words and "--include-dashboard=false" in words
    assert "--num-cpus=8" in words and "--num-gpus=0" in words and "--labels=labelloop-version=0a" in words
    assert '--resources={"labelloop-code-0a": 1000}' in words
    ports = [int(word.rpartition("=")[2]) for word in words if "-port=" in word]
    assert len(set(ports)) == len(ports) and all(7000 <= port <= 7120 for port in ports)
    joining = ray_node.start_words(place, announced, {"ACCELERATOR": "cuda"}, "10.0.0.1:6379")
    assert "--address=10.0.0.1:6379" in joining and "--head" not in joining
    assert not [word for word in joining if "gpus" in word], "Ray counts them itself"
    assert len(str(ray_node.scratch(place))) <= 107 - 64, "with Ray's names a socket's path has 107 bytes"


def test_the_folder_for_sockets_is_closed_and_nobody_elses(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ray_node, "gettempdir", lambda: str(tmp_path))
    ray_node.clear(place)
    folder = ray_node.scratch(place).parent
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.rmdir()
    folder.symlink_to(tmp_path)  # which is not followed, nor deleted
    with pytest.raises(NoPlace, match="can't be deleted"):
        ray_node.clear(place)
    assert place.token_file.is_file()


def test_a_node_that_can_not_tell_its_version_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(ray_node.NoAnnouncement, match="ended with 1"):
        ray_node.announcement()
