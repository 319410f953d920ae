import os
import stat

import pytest

from lifecycle.console import Failure
from lifecycle.home import Home
from lifecycle.runtime import volumes


def test_folders_with_tokens_in_them_are_closed_to_other_users(home: Home) -> None:
    (home.volumes / "labelstudio").mkdir(parents=True, mode=0o755)
    volumes.prepare_volumes(home, None)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in home.volumes.iterdir()}
    assert modes["labelstudio"] == modes["backups"] == 0o700
    assert modes["images"] & 0o055, "people put their pictures there"


def test_a_folder_of_another_users_is_named_before_anything_below_it_is_touched(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    (home.volumes / "labelstudio").mkdir(parents=True)
    owner = (home.volumes / "labelstudio").stat().st_uid
    with pytest.raises(Failure, match=rf"labelstudio: found owned by user {owner}, .*`sudo chown -R 4321:5 "):
        volumes.prepare_volumes(home, (4321, 5))
    assert [path.name for path in home.volumes.rglob("*")] == ["labelstudio"]


def test_a_folder_that_is_not_there_yet_would_be_the_wrong_users_too(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    with pytest.raises(Failure, match="found owned by user 4321, needed owned by user 10001"):
        volumes.prepare_volumes(home, (10001, 10001))
