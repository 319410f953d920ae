"""What is learnt at once: its names, and what serves."""

import os
from pathlib import Path

import pytest
from support.killed import Killed
from support.versions import add_version

from labelloop.choice import choose, chosen
from labelloop.instant import HEAD, champion_of, is_instant, name_of
from labelloop.registry import Card, ProjectModels, RegistryError
from trainer.dataset.origin import earlier_name, is_earlier_name, version_of

CARD = Card(detector="yolox_nano", classes=["ball"], dataset_fingerprint="instant")


@pytest.fixture
def models(tmp_path: Path) -> ProjectModels:
    """v0000 is in service."""
    models = ProjectModels(tmp_path / "1")
    models.promote(add_version(models, tmp_path / "made"))
    return models


def learnt(models: ProjectModels, champion: str = "v0000") -> str:
    version = models.instant.write(champion, CARD, b"weights")
    models.instant.serve(version)
    return version


def test_a_name_is_no_part_of_another_ones() -> None:
    """Label Studio's filters find parts of names."""
    names = ["v0003", name_of("v0003", 1), name_of("v0003", 12), name_of("v0030", 1)]
    names += [earlier_name(name) for name in names]
    assert [(a, b) for a in names for b in names if a != b and a in b] == []


@pytest.mark.parametrize("version", ["v0003", "i0003.0012", "v12345", "i12345.0001"])
def test_the_name_under_former_labels_leads_back(version: str) -> None:
    assert is_earlier_name(earlier_name(version))
    assert version_of({"model_version": earlier_name(version)}) == version


def test_what_was_learnt_serves_in_the_champions_place(models: ProjectModels) -> None:
    before = models.serving_stamp()
    version = learnt(models)
    assert (version, models.serving(), models.champion()) == ("i0000.0001", version, "v0000")
    assert models.serving_stamp() != before
    assert models.versions() == models.ever() == ["v0000"]
    assert models.card(version).parent == champion_of(version) == "v0000"
    assert models.check(version).version == version


def test_numbers_go_on(models: ProjectModels) -> None:
    assert [learnt(models) for _ in range(3)] == ["i0000.0001", "i0000.0002", "i0000.0003"]


def test_a_promoted_round_takes_its_place(models: ProjectModels, tmp_path: Path) -> None:
    learnt(models)
    version = models.succeed("v0000", CARD, "model = {}\n", tmp_path / "made" / "made.pth")
    assert models.serving() == version == "v0001"


def test_a_version_that_is_rolled_back_to_serves_itself(models: ProjectModels, tmp_path: Path) -> None:
    add_version(models, tmp_path / "made", 1)
    learnt(models)
    models.promote("v0001")
    models.promote("v0000")
    assert models.serving() == "v0000"


@pytest.mark.parametrize("text", ["", "v0000", "i0007.0001", "i0000.0009", "../i0000.0001", "\xff"])
def test_a_pointer_to_nothing_leaves_the_champion(models: ProjectModels, text: str) -> None:
    learnt(models)
    (models.instant.path / "serving").write_text(text)
    assert models.serving() == "v0000"


def test_one_that_is_damaged_gives_way(models: ProjectModels) -> None:
    version = learnt(models)
    (models.folder(version) / HEAD).write_bytes(b"other")
    with pytest.raises(RegistryError, match=r"head\.pth is damaged"):
        models.check(version)
    models.mend_instant()
    assert models.serving() == "v0000"


def test_a_whole_one_is_not_mended(models: ProjectModels) -> None:
    version = learnt(models)
    models.mend_instant()
    assert models.serving() == version


@pytest.mark.parametrize("moment", ["fsync", "rename", "replace"])
def test_killed_while_one_is_written(
    models: ProjectModels, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = learnt(models)

    def killed(*arguments: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fsync") if moment == "fsync" else (Path, moment)), killed)
        with pytest.raises(Killed):
            learnt(models)
    assert models.serving() == first
    assert models.instant.ever() == [first]
    assert learnt(models) == "i0000.0002"
    assert sorted(path.name for path in models.instant.path.iterdir()) == [first, "i0000.0002", "serving"]


def test_superseded_ones_keep_their_cards_alone(models: ProjectModels) -> None:
    versions = [learnt(models) for _ in range(4)]
    models.instant.serve(versions[0])
    assert models.instant.clear(keep=2, champion="v0000") == 1
    assert [(models.folder(version) / HEAD).is_file() for version in versions] == [True, False, True, True]
    assert [models.card(version).version for version in versions] == versions
    assert all(map(is_instant, versions))


def test_those_upon_another_champion_go_first(models: ProjectModels) -> None:
    """As after a promotion that was taken back: the other champion is the newer one."""
    upon = {champion: [learnt(models, champion) for _ in range(3)] for champion in ("v0000", "v0001")}
    models.instant.serve(None)
    assert models.instant.clear(keep=2, champion="v0000") == 4
    left = [name for name in models.instant.ever() if (models.folder(name) / HEAD).is_file()]
    assert left == upon["v0000"][-2:]


def test_nobody_chooses_an_instant_version_and_a_try_changes_no_choice(models: ProjectModels) -> None:
    """Which is no version that a round could be compared with."""
    version = learnt(models)
    choose(models, "v0000")
    with pytest.raises(RegistryError, match=f"{version} was learnt at once upon v0000"):
        choose(models, version)
    assert chosen(models) == "v0000"
