"""Loaded once, kept, swapped when the pointer moves."""

import gc
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from weakref import finalize

import pytest
from support.backend_home import PATIENCE_S, Home, wait_until

from labelloop.boxes import Boxes
from labelloop.images import Pixels
from labelloop.instant import HEAD
from labelloop.registry import ProjectModels
from mlbackend import champions
from mlbackend.app import keep_out_of_garbage_collections, serve


def test_model_is_loaded_once_for_many_requests(home: Home) -> None:
    url = home.add_image("a.png")
    for _ in range(5):
        assert home.setup().json == {"model_version": "v0000"}
        home.results(url)
    assert len(home.detectors) == 1


def test_auto_update_of_label_studio_ml_changes_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTO_UPDATE", "1")
    monkeypatch.setenv("LABEL_STUDIO_ML_BACKEND_V2", "1")
    for _ in range(3):
        body = {"project": "1.1", "schema": "", "force_reload": True}
        assert home.client.post("/setup", json=body).status_code == 200
    assert len(home.detectors) == 1


def test_version_is_the_registrys_everywhere(home: Home) -> None:
    home.add_version()
    answer = home.predict(home.add_image("a.png"), "/nope")
    assert answer.json["model_version"] == "v0001"
    assert {result["model_version"] for result in answer.json["results"]} == {"v0001"}
    assert home.setup().json["model_version"] == "v0001"


def test_promotion_and_rollback_without_a_failed_request(home: Home) -> None:
    url = home.add_image("a.png")
    home.setup()
    home.load_pause_s = 0.3
    statuses: set[int] = set()
    seen: list[str] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            answer = home.predict(url)
            statuses.add(answer.status_code)
            seen.append(answer.json["model_version"])

    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(ask) for _ in range(3)]
        home.add_version()
        wait_until(lambda: home.serves("v0001"))
        home.registry.project(1).promote("v0000")
        wait_until(lambda: home.serves("v0000"))
        done.set()
        for future in asking:
            future.result()
    assert statuses == {200}
    assert set(seen) == {"v0000", "v0001"}


def test_the_old_version_serves_while_the_new_one_is_loaded(home: Home) -> None:
    home.setup()
    home.may_load.clear()
    home.add_version()
    assert home.setup().json["model_version"] == "v0000"
    home.may_load.set()
    wait_until(lambda: home.serves("v0001"))


def test_a_first_model_that_comes_during_a_look_for_one_is_loaded_at_once(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who connects a project as soon as its pointer is written is not told that it has no model."""
    home.registry.project(2).path.mkdir(parents=True)
    champion, looked = ProjectModels.champion, threading.Event()

    def slow(models: ProjectModels) -> str | None:
        found = champion(models)
        if found is None and threading.current_thread().name.startswith("load"):
            looked.set()
            wait_until(models.champion_stamp)
        return found

    monkeypatch.setattr(ProjectModels, "champion", slow)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(home.setup, 2)
        assert looked.wait(10)
        home.add_version(project=2)
        assert (answer.result().status_code, answer.result().json) == (200, {"model_version": "v0000"})


def test_models_of_a_project_that_is_gone_do_not_serve_the_one_that_has_its_number(home: Home) -> None:
    home.setup()
    models = home.registry.project(1)
    models.path.rename(models.path.with_name("1.of-then"))
    wait_until(lambda: home.serves(None))
    home.add_version(classes=["kite"])
    wait_until(lambda: home.serves("v0000"))
    assert home.detector.classes == ("kite",)


def test_nor_when_both_were_changed_between_two_looks(home: Home) -> None:
    home.setup()
    models = home.registry.project(1)
    aside, other = models.path.with_name("1.of-then"), home.registry.project(2)
    home.add_version(project=2, classes=["kite"])
    models.path.rename(aside)
    other.path.rename(models.path)
    wait_until(lambda: len(home.detectors) > 1 and home.detector.classes == ("kite",))
    wait_until(lambda: home.setup().json == {"model_version": "v0000"})


def test_pointer_is_followed_without_requests(home: Home) -> None:
    home.setup()
    home.add_version()
    wait_until(lambda: home.serves("v0001"))


def test_the_thread_that_watches_frees_what_left(home: Home) -> None:
    """Freeing a model takes as long as a request: neither a request nor the next load does it."""
    home.setup()
    freed_by: list[str] = []
    finalize(home.detectors.pop(), lambda: freed_by.append(threading.current_thread().name))
    home.add_version()
    wait_until(lambda: home.serves("v0001"))
    home.predict(home.add_image("a.png"))
    wait_until(lambda: bool(freed_by))
    assert freed_by == ["watch"]


def test_what_left_is_freed_while_a_pass_is_in_its_network(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No thread runs Python code while a model is freed, and a network needs none."""
    monkeypatch.setattr(champions, "QUIET_S", PATIENCE_S)
    waits, freed, in_a_pass = threading.Event(), threading.Event(), list[bool]()
    wait_for_begin = champions.ForwardLane.wait_for_begin

    def waiting(lane: champions.ForwardLane, at_most_s: float) -> None:
        waits.set()
        wait_for_begin(lane, at_most_s)

    def note() -> None:
        in_a_pass.append(home.detector.in_a_pass)
        freed.set()

    def answer(image: Pixels) -> Boxes:
        freed.wait(PATIENCE_S / 10)
        return Boxes.empty()

    monkeypatch.setattr(champions.ForwardLane, "wait_for_begin", waiting)
    home.setup()
    finalize(home.detectors.pop(), note)
    home.add_version()
    wait_until(lambda: home.serves("v0001"))
    assert waits.wait(PATIENCE_S)
    home.detector.answer = answer
    url = home.add_image("a.png")
    while not freed.is_set():
        home.results(url)
    assert in_a_pass == [True]


def test_a_model_that_left_is_freed_though_nobody_asks(home: Home) -> None:
    home.setup()
    freed = threading.Event()
    finalize(home.detectors.pop(), freed.set)
    home.add_version()
    assert freed.wait(PATIENCE_S)


def test_a_pass_of_one_image_goes_before_larger_ones_but_does_not_starve_them() -> None:
    lane, order, begun, go = champions.ForwardLane(), list[str](), threading.Event(), threading.Event()

    def passing(name: str, images: int, wait: bool = False) -> threading.Thread:
        def run() -> list[str]:
            order.append(name)
            if wait:
                begun.set()
                assert go.wait(PATIENCE_S)
            return []

        before = lane._waiting.qsize()
        thread = threading.Thread(target=lane._in_turn, args=(run, images))
        thread.start()
        wait_until((lambda: begun.is_set()) if wait else (lambda: lane._waiting.qsize() > before))
        return thread

    threads = [passing("first", 4, wait=True), passing("many", 4)]
    threads += [passing(f"one {number}", 1) for number in range(6)]
    go.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert order == ["first", "one 0", "one 1", "one 2", "many", "one 3", "one 4", "one 5"]


def test_a_thread_has_its_turn_while_another_one_loads_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own interval is a fifth of a request, which needs some ten turns."""
    for name in ("keep_out_of_garbage_collections", "create_app", "get_settings"):
        monkeypatch.setattr(f"mlbackend.app.{name}", lambda *args: SimpleNamespace(threads=1))
    before = sys.getswitchinterval()
    try:
        serve()
        assert sys.getswitchinterval() == pytest.approx(0.0005)
    finally:
        sys.setswitchinterval(before)


def test_no_model_yet(bare_home: Home) -> None:
    status, report = bare_home.health()
    assert status == 503
    assert "the trainer writes" in report["reason"]
    answer = bare_home.setup()
    assert answer.status_code == 503
    assert "no model yet" in answer.json["error"]
    assert answer.json["error"] in answer.status
    bare_home.add_version()
    wait_until(lambda: bare_home.health()[0] == 200)
    assert bare_home.setup().json == {"model_version": "v0000"}


def test_versions_without_a_pointer(bare_home: Home) -> None:
    bare_home.add_version(promote=False)
    answer = bare_home.setup()
    assert answer.status_code == 503
    assert "no model yet" in answer.json["error"]
    bare_home.registry.project(1).promote("v0000")
    assert bare_home.setup().status_code == 200


@pytest.mark.parametrize("damage", ["torn", "changed", "missing", "card"])
def test_a_corrupt_champion_leaves_the_previous_one_in_service(home: Home, damage: str) -> None:
    home.setup()
    version = home.add_version(weights=b"torn" if damage == "torn" else b"good", promote=False)
    folder = home.registry.project(1).folder(version)
    culprit = folder / ("card.json" if damage == "card" else "weights.pth")
    if damage == "changed":
        culprit.write_bytes(b"other")
    elif damage == "missing":
        culprit.unlink()
    elif damage == "card":
        culprit.write_text("{")
    home.registry.project(1).promote(version)
    wait_until(lambda: "error" in home.project_health())
    status, report = home.health()
    assert status == 200
    assert report["projects"]["1"]["version"] == "v0000"
    assert str(culprit) in report["projects"]["1"]["error"]
    assert "v0000 keeps serving" in report["projects"]["1"]["error"]
    assert home.results(home.add_image("a.png"))[0]["model_version"] == "v0000"


def test_a_corrupt_champion_at_the_start_is_named_and_a_rollback_heals(home: Home) -> None:
    home.add_version(weights=b"torn")
    wait_until(lambda: "v0001/weights.pth" in home.health()[1].get("reason", ""))
    assert home.health()[0] == 503
    assert home.setup().status_code == 503
    home.registry.project(1).promote("v0000")
    assert home.setup().json == {"model_version": "v0000"}
    assert "error" not in home.project_health()


def test_a_pointer_to_nowhere_is_named(home: Home) -> None:
    (home.registry.project(1).path / "champion").write_text("v0099\n")
    answer = home.setup()
    assert answer.status_code == 503
    assert "v0099" in answer.json["error"] and "make rollback" in answer.json["error"]


def test_several_projects_at_once(home: Home) -> None:
    home.add_version(project=2, classes=["car"])
    home.add_version(project=2, classes=["car"])
    url = home.add_image("a.png")
    assert home.results(url, project=1)[0]["result"][0]["value"]["rectanglelabels"] == ["pet"]
    (second,) = home.results(url, project=2)
    assert second["model_version"] == "v0001"
    assert second["result"][0]["value"]["rectanglelabels"] == ["car"]


def test_models_in_memory_are_bounded(home: Home) -> None:
    for project in range(2, 8):
        home.add_version(project=project)
    for project in (1, 2, 3, 4, 5, 6, 7, 1):
        assert home.setup(project=project).status_code == 200
    loaded = [number for number in range(1, 8) if home.project_health(number)["version"]]
    assert loaded == [1, 5, 6, 7]
    assert home.health()[0] == 200
    assert (home.project_health(7)["device"], home.project_health(2)["device"]) == ("cpu", None)


def test_what_the_libraries_hold_is_kept_out_of_garbage_collections() -> None:
    gc.unfreeze()
    keep_out_of_garbage_collections()
    try:
        assert gc.get_freeze_count() > 100_000 > len(gc.get_objects())
    finally:
        gc.unfreeze()


def test_what_was_learnt_at_once_serves_in_the_champions_place(home: Home) -> None:
    url = home.add_image("a.png")
    home.setup()
    version = home.learn_at_once()
    wait_until(lambda: home.serves(version))
    assert home.results(url)[0]["model_version"] == home.setup().json["model_version"] == version
    home.registry.project(1).instant.serve(None)
    wait_until(lambda: home.serves("v0000"))


def test_a_promoted_round_supersedes_what_was_learnt_at_once(home: Home) -> None:
    version = home.learn_at_once()
    home.setup()
    wait_until(lambda: home.serves(version))
    home.add_version()
    wait_until(lambda: home.serves("v0001"))


def test_the_champion_serves_where_what_was_learnt_at_once_cannot(home: Home) -> None:
    home.learn_at_once(head=b"torn")
    assert home.setup().json["model_version"] == "v0000"
    assert home.results(home.add_image("a.png"))[0]["model_version"] == "v0000"
    told = home.project_health()["error"]
    assert "i0000.0001 cannot serve" in told and "v0000 serves in its place" in told


def test_what_was_learnt_at_once_and_failed_to_load_is_tried_again(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when memory is short for a moment. Until it serves, nobody gets its boxes in advance."""
    monkeypatch.setattr(champions, "RETRY_S", 0.05)
    version = home.learn_at_once()
    head = home.registry.project(1).folder(version) / HEAD
    whole = head.read_bytes()
    head.write_bytes(b"for a moment")
    assert home.setup().json["model_version"] == "v0000"
    head.write_bytes(whole)
    wait_until(lambda: home.serves(version))
