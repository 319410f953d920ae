import stat

import pytest

from lifecycle.console import Failure
from lifecycle.home import Home
from lifecycle.settings import env_file, host, settings
from lifecycle.settings.given import parse_arguments
from lifecycle.settings.settings import Settings

SECRETS = (
    "DATABASE_PASSWORD",
    "ADMIN_PASSWORD",
    "API_TOKEN",
    "SECRET_KEY",
    "BACKEND_PASSWORD",
    "TRAINER_PASSWORD",
    "DASHBOARD_SECRET",
)


def complete(home: Home, *, host_runtime: bool = False, accelerator: str = "cpu") -> list[str]:
    return settings.complete(home, host_runtime=host_runtime, accelerator=accelerator)


def test_secrets_are_generated_once_into_a_file_that_only_its_owner_reads(home: Home) -> None:
    assert set(SECRETS) <= set(complete(home))
    first = env_file.read(home.env_file)
    assert stat.S_IMODE(home.env_file.stat().st_mode) == 0o600
    assert all(len(first[name]) >= 20 for name in SECRETS)
    assert len({first[name] for name in SECRETS}) == len(SECRETS)
    assert len(first["API_TOKEN"]) == 40
    assert complete(home) == []
    assert env_file.read(home.env_file) == first


def test_two_checkouts_have_different_secrets(home: Home) -> None:
    complete(home)
    first = env_file.read(home.env_file)
    home.env_file.unlink()
    complete(home)
    assert all(env_file.read(home.env_file)[name] != first[name] for name in SECRETS)


def test_a_secret_that_is_there_is_never_overwritten(home: Home) -> None:
    home.env_file.write_text("ADMIN_PASSWORD=mine\n")
    assert "ADMIN_PASSWORD" not in complete(home)
    assert env_file.read(home.env_file)["ADMIN_PASSWORD"] == "mine"


def test_a_readable_env_file_is_closed(home: Home) -> None:
    complete(home)
    home.env_file.chmod(0o644)
    complete(home)
    assert stat.S_IMODE(home.env_file.stat().st_mode) == 0o600


def test_settings_of_the_command_line_are_kept_where_they_belong(home: Home) -> None:
    given = {"DETECTOR": "yolox_s", "PORT": "8081", "LABEL_CONFIG": "configs/labels/face.xml"}
    settings.check(home, given)
    assert settings.keep(home, given) == [
        "DETECTOR=yolox_s is kept in configs/local.env",
        "PORT=8081 is kept in .env",
        "LABEL_CONFIG=configs/labels/face.xml is kept in configs/local.env",
    ]
    complete(home)
    in_force = settings.load(home)
    assert (in_force["DETECTOR"], in_force["PORT"]) == ("yolox_s", "8081")
    assert in_force["RETRAIN_EVERY"] == "50"
    assert settings.keep(home, given) == []


@pytest.mark.parametrize(
    ("stored", "given", "expected"),
    [
        ("", {"PORT": "8090"}, None),
        ("PORT=8080\nDASHBOARD_PORT=8081\n", {"PORT": "8081"}, "8082"),
        ("PORT=8080\nDASHBOARD_PORT=8081\n", {"PORT": "65535"}, "65534"),
        ("PORT=8080\nDASHBOARD_PORT=8081\n", {"DETECTOR": "yolox_s"}, "8081"),
        ("PORT=8080\nDASHBOARD_PORT=8081\n", {"PORT": "8090", "DASHBOARD_PORT": "9000"}, "9000"),
        ("PORT=8080\nDASHBOARD_PORT=9000\n", {"PORT": "8090"}, "9000"),
        ("PORT=eighty\nDASHBOARD_PORT=8081\n", {"PORT": "8090"}, "8081"),
    ],
)
def test_the_dashboard_moves_along_until_it_is_given_a_place_of_its_own(
    home: Home, stored: str, given: dict[str, str], expected: str | None
) -> None:
    home.env_file.write_text(stored)
    moved = settings.move_dashboard(home, given)
    settings.keep(home, moved)
    assert moved.items() >= given.items()
    assert settings.load(home).get("DASHBOARD_PORT") == expected


def test_the_loops_settings_never_hold_a_secret_and_env_never_goes_to_a_container(home: Home) -> None:
    settings.keep(home, {"PROJECT_TITLE": "two words"})
    complete(home)
    assert not set(SECRETS) & (
        env_file.read(home.local_settings).keys() | env_file.read(home.shipped_settings).keys()
    )


def test_the_accelerator_follows_the_host(home: Home) -> None:
    complete(home)
    assert set(complete(home, accelerator="cuda")) == {"COMPOSE_FILE", "COMPOSE_ACCELERATOR"}
    assert env_file.read(home.env_file)["COMPOSE_FILE"] == "docker-compose.yml:compose/gpu.yml"
    assert settings.load(home).device == "cuda"


def test_images_for_a_gpu_are_used_without_one(home: Home) -> None:
    """Docker starts nothing that reserves a GPU which it doesn't have."""
    complete(home, accelerator="cuda")
    settings.complete(home, host_runtime=False, accelerator="cuda", gpu=False)
    written = settings.load(home)
    assert (written["COMPOSE_FILE"], written["COMPOSE_ACCELERATOR"]) == ("docker-compose.yml", "cuda")
    assert written.device == "cpu"


def test_the_host_runtime_gets_ports_of_its_own(home: Home) -> None:
    assert {"MLBACKEND_PORT", "TRAINER_PORT"} <= set(complete(home, host_runtime=True))


def test_the_environment_names_runtime_and_project(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", "second")
    monkeypatch.setenv("RUNTIME", "host")
    monkeypatch.setenv("PORT", "1")
    complete(home)
    in_force = settings.load(home)
    assert (in_force["COMPOSE_PROJECT_NAME"], in_force["RUNTIME"], in_force["PORT"]) == (
        "second",
        "host",
        "8080",
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PORT", "eighty", "PORT: found 'eighty', needed a whole number from 1 to 65535"),
        ("PORT", "0", "needed a whole number from 1 to 65535"),
        ("RUNTIME", "vm", "needed one of auto, docker, swarm, host"),
        ("ACCELERATOR", "tpu", "needed one of auto, cpu, cuda"),
        ("TORCH_CUDA_ARCH_LIST", "ampere", "needed a GPU's compute capability such as 8.6"),
        ("TORCH_CUDA_ARCH_LIST", "86", "needed a GPU's compute capability"),
        ("TORCH_CUDA_ARCH_LIST", "8.6,9.0", "several as 8.6;9.0"),
        ("DETECTOR", "yolo", "needed one of auto, yolox_nano, yolox_s"),
        ("LABEL_CONFIG", "nowhere.xml", "needed a file below the repository"),
        ("LABEL_CONFIG", "/etc/hostname", "needed a file below the repository"),
        ("COMPOSE_PROJECT_NAME", "My Stack", "needed lower-case letters"),
        ("BACKUP_EVERY_HOURS", "daily", "needed a whole number from 0 to"),
        ("BACKUP_KEEP", "0", "needed a whole number from 1 to"),
        ("KEEP_ROUNDS", "0", "needed a whole number from 1 to"),
        ("PUBLIC_URL", "labels.example.com", "needed http:// or https:// and a host"),
        ("PUBLIC_URL", "https://example.com/labels/", "without a path"),
        ("BIND", "::", "needed an IPv4 address of this host, such as 127.0.0.1; 0.0.0.0 is all of them"),
        ("BIND", "localhost", "needed an IPv4 address of this host"),
        ("BIND", "127.0.0.0/8", "needed an IPv4 address of this host"),
        ("BIND", "127.0.0.1/32", "needed an IPv4 address of this host"),
        ("ADMIN_EMAIL", "admin", "needed an e-mail address, which Label Studio's login asks for"),
        ("ADMIN_EMAIL", "a@b", "needed an e-mail address"),
        ("ADMINS", "ann", "needed e-mail addresses of Label Studio's users with commas between them"),
        ("ADMINS", "ann@x.org;bob@y.org", "with commas between them, such as ann@x.org,bob@y.org"),
        ("ADMINS", "ann@x.org, bob@y.org", "needed e-mail addresses"),
        ("ADMINS", "ann@x.org,", "needed e-mail addresses"),
        ("PROJECT_TITLE", "ab", "needed 3 to 50 characters"),
        ("PROJECT_TITLE", "", "needed 3 to 50 characters"),
        ("PROJECT_TITLE", "x" * 51, "needed 3 to 50 characters"),
        ("PROJECT_TITLE", "cells ", "without blanks around them"),
        ("SUBNET", "10.213.5.7/24", "needed an IPv4 network of at least 16 addresses, by its first one"),
        ("SUBNET", "10.213.5.7", "needed an IPv4 network"),
        ("SUBNET", "10.213.5.0/255.255.255.0", "needed an IPv4 network"),
        ("SUBNET", "fd00::/64", "needed an IPv4 network"),
        ("SUBNET", "10.213.5.0/29", "needed an IPv4 network"),
        ("ADOPT_PROJECTS", "some", "needed 1, true, yes or on; or 0, false, no or off; or all"),
        ("INSTANT", "all", "needed 1, true, yes or on; or 0, false, no or off"),
        ("COLOUR", "red", "the setting COLOUR: found no such setting, needed one of ACCELERATOR"),
        ("API_TOKEN", "abc", "API_TOKEN is a secret"),
    ],
)
def test_an_impossible_setting_is_refused_with_what_is_possible(
    home: Home, name: str, value: str, message: str
) -> None:
    with pytest.raises(Failure, match=message):
        settings.check(home, {name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BIND", "0.0.0.0"),
        ("BIND", "192.0.2.10"),
        ("ADMIN_EMAIL", "admin@labelloop.local"),
        ("ADMIN_EMAIL", "first.last+x@localhost"),
        ("ADMINS", ""),
        ("TORCH_CUDA_ARCH_LIST", ""),
        ("TORCH_CUDA_ARCH_LIST", "9.0a"),
        ("TORCH_CUDA_ARCH_LIST", "8.6;12.0+PTX"),
        ("ADMINS", "ann@x.org"),
        ("ADMINS", "Ann.B@x.org,bob@localhost"),
        ("ADOPT_PROJECTS", "all"),
        ("ADOPT_PROJECTS", "false"),
        ("INSTANT", "false"),
        ("PROJECT_TITLE", "abc"),
        ("PROJECT_TITLE", "cats & dogs"),
        ("PROJECT_TITLE", "x" * 50),
        ("SUBNET", "10.213.5.0/24"),
        ("SUBNET", "172.31.0.16/28"),
    ],
)
def test_a_possible_setting_is_taken(home: Home, name: str, value: str) -> None:
    settings.check(home, {name: value})


def test_words_that_are_no_settings_are_refused() -> None:
    assert parse_arguments(["A=1", "B=x=y"]) == {"A": "1", "B": "x=y"}
    with pytest.raises(Failure, match="found 'oops', needed NAME=VALUE"):
        parse_arguments(["oops"])


@pytest.mark.parametrize(
    "gigabytes, trainer, mlbackend", [(0, "0", "0"), (3.5, "2670m", "1668m"), (2, "2560m", "1536m")]
)
def test_memory_limits_follow_the_host_but_leave_enough_to_train(
    home: Home, monkeypatch: pytest.MonkeyPatch, gigabytes: float, trainer: str, mlbackend: str
) -> None:
    monkeypatch.setattr(host, "host_memory", lambda: gigabytes * 1e9)
    complete(home)
    written = env_file.read(home.env_file)
    assert (written["TRAINER_MEMORY"], written["MLBACKEND_MEMORY"]) == (trainer, mlbackend)


@pytest.mark.parametrize("value", ["6", "lots", "6 g", "-1g", "0g"])
def test_a_memory_limit_has_a_unit(home: Home, value: str) -> None:
    settings.check(home, {"TRAINER_MEMORY": "6g", "MLBACKEND_MEMORY": "0"})
    with pytest.raises(Failure, match="such as 2560m or 6g"):
        settings.check(home, {"TRAINER_MEMORY": value})


def test_before_the_first_make_up_the_defaults_are_in_force() -> None:
    nothing = Settings({})
    assert nothing.published_ports == (8080, 8081) and nothing.bind == "127.0.0.1"
    assert (nothing.mlbackend_port, nothing.trainer_port) == (9090, 9191)
    assert (nothing.runtime, nothing.accelerator, nothing.device) == ("auto", "auto", "cpu")
    assert nothing.project_name == "labelloop" and nothing.containers_user is None


@pytest.mark.parametrize(
    ("bind", "host"), [("0.0.0.0", "localhost"), ("127.0.0.1", "localhost"), ("192.0.2.7", "192.0.2.7")]
)
def test_a_browser_is_sent_to_what_is_published(bind: str, host: str) -> None:
    published = Settings({"BIND": bind, "PORT": "8090", "DASHBOARD_PORT": "9000"})
    assert published.labelstudio_url == f"http://{host}:8090"
    assert published.dashboard_url == f"http://{host}:9000"


def test_what_is_given_wins_and_changes_nothing_else() -> None:
    stored = Settings({"PORT": "8090", "RETRAIN_EVERY": "50"})
    assert dict(stored | {"PORT": "8095"}) == {"PORT": "8095", "RETRAIN_EVERY": "50"}
    assert (stored.port, stored.retrain_every) == (8090, 50)


def test_a_number_that_is_none_stops_only_what_needs_it() -> None:
    stored = Settings({"PORT": "8090", "TRAINER_PORT": "ninety"})
    assert stored.published_ports == (8090, 8091)
    with pytest.raises(Failure, match=r"TRAINER_PORT: found 'ninety', needed a whole number.*make doctor"):
        print(stored.trainer_port)
