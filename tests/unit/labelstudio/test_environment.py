import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from labelloop.settings import MissingSecret, Settings
from provisioner import environment


def settings(secret_key: str | None = "k") -> Settings:
    return Settings(labelloop_home=Path("/home"), secret_key=SecretStr(secret_key) if secret_key else None)


def test_paths_follow_the_home_and_urls_stay_relative() -> None:
    variables = environment.label_studio_environment(settings())
    assert variables["LABEL_STUDIO_BASE_DATA_DIR"] == "/home/volumes/labelstudio"
    assert variables["LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"] == "/home/volumes"
    assert "LABEL_STUDIO_HOST" not in variables


def test_an_operators_own_variable_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = {"LABEL_STUDIO_ML_TIMEOUT_PREDICT": "9"}
    monkeypatch.setattr(os, "environ", taken)
    environment.apply(settings())
    assert taken["LABEL_STUDIO_ML_TIMEOUT_PREDICT"] == "9"
    assert taken["LABEL_STUDIO_COLLECT_ANALYTICS"] == "false"


def test_without_a_secret_key_nothing_starts() -> None:
    with pytest.raises(MissingSecret, match="SECRET_KEY"):
        environment.label_studio_environment(settings(None))


@pytest.mark.parametrize("from_file", [True, False])
def test_the_secret_key_leaves_the_environment_when_a_file_has_it(
    monkeypatch: pytest.MonkeyPatch, from_file: bool
) -> None:
    ready = settings()
    monkeypatch.setattr(os, "environ", {"SECRETS_DIR": "/run/secrets"} if from_file else {})
    environment.apply(ready)
    assert os.environ["SECRET_KEY"] == "k"
    environment.forget_secret_key()
    assert ("SECRET_KEY" in os.environ) != from_file


def test_a_public_address_is_an_origin_that_forms_may_come_from() -> None:
    trusted = "LABEL_STUDIO_CSRF_TRUSTED_ORIGINS"
    assert trusted not in environment.label_studio_environment(settings())
    public = settings().model_copy(update={"public_url": "https://labels.example"})
    assert environment.label_studio_environment(public)[trusted] == "https://labels.example"


@pytest.mark.parametrize("subnet", [None, "203.0.113.0/24"])
def test_no_internal_network_may_be_called_and_not_the_stacks(
    monkeypatch: pytest.MonkeyPatch, subnet: str | None
) -> None:
    monkeypatch.setattr(os, "environ", {"STACK_SUBNET": subnet} if subnet else {})
    variables = environment.label_studio_environment(settings())
    for protection in ("ML_BLOCK_LOCAL_IP", "SSRF_PROTECTION_ENABLED", "USE_DEFAULT_BANNED_SUBNETS"):
        assert variables[f"LABEL_STUDIO_{protection}"] == "true"
    assert variables["LABEL_STUDIO_USER_ADDITIONAL_BANNED_SUBNETS"] == (subnet or "")
