"""Downloads' part about a model to take along: the button begins one, and what was made can be had."""

import io
import json
import threading
import zipfile

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from support.dashboard import csrf, words

from trainer.dashboard.loop import WatchedLoop
from trainer.takeaway.forms import Format, place


def begin(client: TestClient, **fields: str) -> int:
    """The status of the answer."""
    form = {"csrf": csrf(client, "/downloads?project=1"), "version": "v0000", "format": "onnx", **fields}
    return client.post("/downloads/model?project=1", data=form).status_code


@pytest.mark.usefixtures("child_processes")
def test_the_button_makes_one_in_a_process_of_its_own_and_says_what_came_of_it(
    client: TestClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is refused before anything heavy begins."""
    settings = app.state.parts.loop.settings
    for name in ("labelstudio_url", "mlbackend_url"):
        monkeypatch.setenv(name.upper(), getattr(settings, name))
    assert begin(client, format="mmdet", int8="1") == 303
    assert "v0000 as mmdet in 8 bits" in words(client.get("/downloads/model?project=1").text)
    assert app.state.parts.take_aways.wait(60)
    page = words(client.get("/downloads?project=1").text)
    assert "v0000 as mmdet in 8 bits: INT8=1 is for FORMAT=onnx or openvino" in page


def test_one_at_a_time(client: TestClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()
    take_aways = app.state.parts.take_aways

    def made(work: object) -> tuple[str, int]:
        assert done.wait(30)
        return "40 boxes on 8 images", 0

    monkeypatch.setattr(take_aways, "_made", made)
    assert begin(client) == 303
    assert 'value="v0000"' not in client.get("/downloads?project=1").text, "no form while one is made"
    form = {"csrf": csrf(client, "/downloads?project=1"), "version": "v0000", "format": "onnx"}
    assert client.post("/downloads/model?project=1", data=form).status_code == 409
    done.set()
    assert take_aways.wait(30)
    assert "v0000 as onnx: 40 boxes on 8 images." in words(client.get("/downloads?project=1").text)


@pytest.mark.parametrize(("fields", "status"), [({"format": "keras"}, 400), ({"version": "v0009"}, 404)])
def test_what_there_is_not_cannot_be_made(client: TestClient, fields: dict[str, str], status: int) -> None:
    assert begin(client, **fields) == status


def test_what_was_made_can_be_had_as_a_zip(client: TestClient, loop: WatchedLoop) -> None:
    folder = place(loop.settings.rounds_dir, 1, "v0000", Format.ONNX, int8=True)
    folder.mkdir(parents=True)
    for name in ("README.md", "model.onnx"):
        (folder / name).write_text(name)
    (folder.parent / "model-1-v0000-torchscript").mkdir()  # half of one
    page = client.get("/downloads?project=1")
    assert 'href="/downloads/model/v0000-onnx-int8.zip?project=1"' in page.text
    assert "v0000 as onnx, 8 bits" in words(page.text) and "v0000-torchscript" not in page.text
    answer = client.get("/downloads/model/v0000-onnx-int8.zip?project=1")
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    top = "labelloop-1-v0000-onnx-int8"
    assert sorted(archive.namelist()) == [f"{top}/README.md", f"{top}/model.onnx"]
    for missing in ("v0000-torchscript", "v0000-..", "v0001-onnx"):
        assert client.get(f"/downloads/model/{missing}.zip?project=1").status_code == 404


def test_what_was_made_of_another_version_of_the_same_name_is_not_had(
    client: TestClient, loop: WatchedLoop
) -> None:
    """A project that was deleted may have had this one's number, and a v0000 of its own."""
    of = {Format.ONNX: "another's", Format.TORCHSCRIPT: loop.models(1).card("v0000").weights_sha256}
    for form, weights in of.items():
        folder = place(loop.settings.rounds_dir, 1, "v0000", form, int8=False)
        folder.mkdir(parents=True)
        (folder / "README.md").write_text("a model card")
        (folder / "model.json").write_text(json.dumps({"weights_sha256": weights}))
    assert "v0000-onnx.zip" not in client.get("/downloads?project=1").text
    assert client.get("/downloads/model/v0000-onnx.zip?project=1").status_code == 404
    assert client.get("/downloads/model/v0000-torchscript.zip?project=1").status_code == 200
