import json
import re
from pathlib import Path

import cyclonedx.schema
import jsonschema_rs
import pytest
from cyclonedx.model.bom import Bom

from lifecycle import engine
from lifecycle.build import pins as locks
from lifecycle.console import Failure
from lifecycle.dev import sbom
from lifecycle.home import Home

REPO = Path(__file__).parents[3]


@pytest.fixture
def checkout(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """The repository's own locks, and no engine."""
    for name in locks.all_locks(Home(REPO)):
        (home.root / name).parent.mkdir(parents=True, exist_ok=True)
        (home.root / name).write_bytes((REPO / name).read_bytes())
    monkeypatch.setattr(engine, "engine_version", lambda: None)
    monkeypatch.setattr(sbom, "answer", lambda command, **options: None)
    return home


def problems(text: str) -> list[str]:
    """What CycloneDX's own library and schema have against a document."""
    read = Bom.from_json(json.loads(text))  # type: ignore[attr-defined]
    read.validate()

    def schema(name: str) -> object:
        return json.loads((Path(cyclonedx.schema.__file__).parent / "_res" / name).read_text())

    parts = ("spdx.SNAPSHOT.schema.json", "jsf-0.82.SNAPSHOT.schema.json")
    registry = jsonschema_rs.Registry(
        [(f"http://cyclonedx.org/schema/{part}", schema(part)) for part in parts]
    )
    whole = schema(f"bom-{sbom.SPEC_VERSION}.SNAPSHOT.schema.json")
    validator = jsonschema_rs.Draft7Validator(whole, registry=registry)
    return [error.message for error in validator.iter_errors(json.loads(text))]


def test_the_schema_refuses_what_is_no_document() -> None:
    assert problems(json.dumps({**sbom.document("trainer", "x", []), "bomFormat": "another"}))


def written(home: Home, image: str) -> dict[str, object]:
    return dict(json.loads((home.root / f"build/sbom/{image}.cdx.json").read_text()))


def test_each_image_has_a_valid_document_that_stays_the_same(checkout: Home) -> None:
    sbom.sbom(checkout, {"ACCELERATOR": "cpu"})
    texts = {path.name: path.read_text() for path in (checkout.root / "build/sbom").iterdir()}
    assert set(texts) == {f"{image}.cdx.json" for image in engine.SERVICES}
    for name, text in texts.items():
        assert problems(text) == [], name
    sbom.sbom(checkout, {"ACCELERATOR": "cpu"})
    assert texts == {path.name: path.read_text() for path in (checkout.root / "build/sbom").iterdir()}


def test_every_pin_of_every_lock_is_read() -> None:
    for name in locks.all_locks(Home(REPO)):
        text = (REPO / name).read_text()
        found = locks.packages_in(REPO / name)
        assert len(found) == len(re.findall(r"^[\w.\[\]-]+={2,3}", text, re.MULTILINE)) > 0
        assert sum(len(package.sha256) for package in found) == text.count("--hash=sha256:")


def test_torch_is_in_the_trainers_image_with_its_hashes(checkout: Home) -> None:
    sbom.sbom(checkout, {})
    [torch] = [part for part in written(checkout, "trainer")["components"] if part["name"] == "torch"]  # type: ignore[attr-defined]
    assert torch["purl"] == f"pkg:pypi/torch@{torch['version']}"
    assert torch["externalReferences"][0]["hashes"][0]["alg"] == "SHA-256"


def test_with_cuda_the_model_images_hold_more(checkout: Home) -> None:
    sbom.sbom(checkout, {"ACCELERATOR": "cuda", "LABELLOOP_CACHE": "/tmp/cache"})
    assert "pkg:pypi/triton@" in (checkout.root / "build/sbom/mlbackend.cdx.json").read_text()
    assert "pkg:pypi/triton@" not in (checkout.root / "build/sbom/labelstudio.cdx.json").read_text()


@pytest.mark.parametrize("given", [{"ACCELERATOR": "tpu"}, {"RUNTIME": "podman"}], ids=str)
def test_what_no_setting_may_be_is_refused(checkout: Home, given: dict[str, str]) -> None:
    with pytest.raises(Failure, match=next(iter(given))):
        sbom.sbom(checkout, given)


def test_debians_packages_are_in_it_where_the_engine_answers(
    checkout: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = "libc6\t2.36-9+deb12u10\tamd64\nlibssl3\t3.0.16-1~deb12u1\tamd64\nW: a warning"
    monkeypatch.setattr(sbom, "answer", lambda command, **options: rows if "run" in command else "sha256:1")
    sbom.sbom(checkout, {})
    text = (checkout.root / "build/sbom/labelstudio.cdx.json").read_text()
    assert problems(text) == []
    assert "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64" in text and "warning" not in text


def test_a_line_that_pins_nothing_is_refused(tmp_path: Path) -> None:
    pin = "requests==2.0 \\\n    --hash=sha256:" + "a" * 64
    (tmp_path / "x.lock").write_text(f"# a comment\n{pin}\nflask>=3\n")
    with pytest.raises(Failure, match=r"x\.lock, line 4: found 'flask>=3', needed name==version"):
        locks.packages_in(tmp_path / "x.lock")
