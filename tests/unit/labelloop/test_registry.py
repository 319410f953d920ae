import threading
from pathlib import Path

import pytest

from labelloop.registry import Card, ProjectModels, Registry, RegistryError


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "trained.pth"
    path.write_bytes(b"tensors")
    return path


@pytest.fixture
def models(tmp_path: Path) -> ProjectModels:
    return Registry(tmp_path / "models").project(1)


def card(**fields: object) -> Card:
    return Card.model_validate({"detector": "yolox_nano", "classes": ["cat"], **fields})


def test_versions_count_up_from_the_starting_model(models: ProjectModels, weights: Path) -> None:
    assert models.versions() == [] and models.champion() is None
    assert [models.write(card(), "model = {}\n", weights) for _ in range(3)] == ["v0000", "v0001", "v0002"]
    assert models.champion() is None, "writing a version does not put it in service"
    models.promote("v0001")
    assert models.champion() == "v0001"
    assert models.card("v0001").version == "v0001"
    assert len(models.card("v0001").weights_sha256) == 64


def test_a_version_is_found_by_its_round(models: ProjectModels, weights: Path) -> None:
    models.write(card(round=7, round_requested_at="then"), "", weights)
    models.write(card(round=9, round_requested_at="then"), "", weights)
    digest = models.card("v0000").weights_sha256
    assert models.of_round(7, "then", digest) == "v0000"
    assert models.of_round(8, "then", digest) is None
    assert models.of_round(7, "then", "of other weights") is None
    assert models.of_round(7, "later", digest) is None, "numbers are given twice when a backup is restored"
    assert max(card.round or 0 for card in models.cards()) == 9


def test_what_a_kill_left_half_written_is_no_version_and_goes_with_the_next(
    models: ProjectModels, weights: Path
) -> None:
    models.write(card(), "", weights)
    half = models.path / ".writing-killed"
    half.mkdir()
    (half / "weights.pth").write_bytes(b"ha")
    assert models.versions() == ["v0000"]
    assert models.write(card(), "", weights) == "v0001"
    assert not half.exists()


@pytest.mark.parametrize("content", [b"", b"v9999\n", b"../2/v0000\n", b"\xff\xfe"])
def test_a_pointer_to_nothing_names_the_file_and_the_way_out(
    models: ProjectModels, weights: Path, content: bytes
) -> None:
    models.write(card(), "", weights)
    (models.path / "champion").write_bytes(content)
    with pytest.raises(RegistryError, match=r"champion.*make rollback VERSION"):
        models.champion()


def test_only_a_version_that_is_there_can_be_promoted(models: ProjectModels, weights: Path) -> None:
    models.write(card(), "", weights)
    with pytest.raises(RegistryError, match=r"v0007 is no version.*v0000"):
        models.promote("v0007")


def test_a_damaged_card_is_named(models: ProjectModels, weights: Path) -> None:
    models.write(card(), "", weights)
    (models.folder("v0000") / "card.json").write_text("{")
    with pytest.raises(RegistryError, match=r"card\.json"):
        models.card("v0000")


def test_the_stamp_changes_with_every_move_of_the_pointer(models: ProjectModels, weights: Path) -> None:
    models.write(card(), "", weights)
    models.write(card(), "", weights)
    stamps = [models.champion_stamp()]
    for version in ("v0000", "v0001", "v0000"):
        models.promote(version)
        stamps.append(models.champion_stamp())
    assert stamps[0] is None and all(a != b for a, b in zip(stamps, stamps[1:], strict=False))


def test_a_reader_always_sees_a_whole_pointer(models: ProjectModels, weights: Path) -> None:
    models.write(card(), "", weights)
    models.write(card(), "", weights)
    models.promote("v0000")
    seen: set[str | None] = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add(models.champion())

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(200):
        models.promote(f"v000{i % 2}")
    stop.set()
    reader.join(timeout=10)
    assert seen <= {"v0000", "v0001"} and seen


def test_rare_labels_weigh_more_and_all_the_same_before_the_first_round() -> None:
    assert card().rarity(["cat", "dog"]).tolist() == [1, 1]
    common, rare, unseen = card(boxes_by_class={"cat": 99, "dog": 9}).rarity(["cat", "dog", "owl"])
    assert common < 1 < rare < unseen
    assert rare == pytest.approx(10 * common)
