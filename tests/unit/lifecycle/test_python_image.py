from pathlib import Path

import pytest

from lifecycle.build.python_image import debian_mirrors
from lifecycle.console import Failure

DEB822 = """\
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
"""


def test_mirrors_of_a_deb822_file(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "debian.sources").write_text(DEB822)
    (tmp_path / "sources.list.d" / "other.list").write_text(
        "deb http://cloud.example/apt sdk-bookworm main\n"
    )
    assert debian_mirrors(tmp_path) == {
        "bookworm": "http://mirror.example/debian",
        "bookworm-updates": "http://mirror.example/debian",
        "bookworm-security": "http://mirror.example/debian-security",
    }


def test_mirrors_of_a_one_line_file(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(
        "# deb http://no.example/debian bookworm main\n"
        "deb [arch=amd64] http://m.example/debian bookworm main\n"
    )
    assert debian_mirrors(tmp_path) == {"bookworm": "http://m.example/debian"}


def test_a_host_of_another_release_is_told_the_ways_out(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text("deb http://m.example/ubuntu noble main\n")
    with pytest.raises(Failure, match="no Debian bookworm mirror.*docker load.*RUNTIME=host"):
        debian_mirrors(tmp_path)
