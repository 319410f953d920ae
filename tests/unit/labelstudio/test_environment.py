import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from labelloop.outside import CertificateError
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


def test_the_stacks_own_services_and_image_hosts_are_asked_without_the_proxy() -> None:
    changes = {
        "http_proxy": "http://proxy:1",
        "no_proxy": ".corp",
        "image_hosts": "https://minio.lan:9000",
        "labelstudio_url": "http://127.0.0.1:8080",
    }
    variables = environment.network_environment(settings().model_copy(update=changes))
    own = "localhost,127.0.0.1,::1,mlbackend,trainer,minio.lan,.corp"
    assert variables["NO_PROXY"] == variables["no_proxy"] == own
    assert variables["HTTP_PROXY"] == variables["http_proxy"] == "http://proxy:1"
    assert "HTTPS_PROXY" not in variables and "REQUESTS_CA_BUNDLE" not in variables


def test_a_companys_certificates_are_added_to_the_usual_ones(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("the company's")
    given = settings().model_copy(update={"labelloop_home": tmp_path, "ca_bundle": Path("ca.pem")})
    variables = environment.network_environment(given)
    [file] = {variables[name] for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "AWS_CA_BUNDLE")}
    text = Path(file).read_text()
    assert text.count("-----BEGIN CERTIFICATE-----") > 50 and "the company's" in text


def test_a_file_of_certificates_that_is_lost_is_named(tmp_path: Path) -> None:
    given = settings().model_copy(update={"labelloop_home": tmp_path, "ca_bundle": Path("configs/lost.pem")})
    with pytest.raises(CertificateError, match=r"configs/lost\.pem"):
        environment.network_environment(given)
