"""What Swarm is given, made of what Docker Compose makes of the stack's own files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support import compose_files

from lifecycle import engine
from lifecycle.console import Failure
from lifecycle.home import Home
from lifecycle.runtime import stack_file
from lifecycle.runtime.stack_file import Places, StackFile
from lifecycle.settings import known, secret_files, settings

REPO = Path(__file__).parents[3]
HERE = Places("here", None)
with_compose = pytest.mark.skipif(engine.compose_version() is None, reason="no Docker Compose")


def of(config: dict[str, Any], places: Places = HERE) -> StackFile:
    return stack_file.made_of(
        config,
        folder="/somewhere",
        images={name: f"labelloop/{name}:stack-1" for name in config["services"]},
        places=places,
        secrets_stamp="ab12",
        empty_secrets=known.GIVEN_SECRETS,
    )


def one(**service: Any) -> dict[str, Any]:
    """A stack of one service. Returns: what Swarm is given of it."""
    network = {} if "network_mode" in service else {"networks": {"loop": None}}
    made = of({"name": "small", "services": {"one": {"user": "1:2", **network, **service}}})
    return dict(made.content["services"]["one"])


def config(home: Home, given: Mapping[str, str], gpu: bool = False) -> dict[str, Any]:
    """What Compose makes of the files that these settings choose."""
    compose_files.put(home.root)
    settings.keep(home, {"BIND": "0.0.0.0", **given})
    accelerator = "cuda" if gpu else "cpu"
    settings.complete(home, host_runtime=False, accelerator=accelerator, gpu=gpu, swarm=True)
    secret_files.publish(home, settings.load(home))
    return compose_files.composed(home.root)


EVERY = {"DATABASE": "postgres", "REPLICAS": "2", "BACKENDS": "3"}
ELSEWHERE = {"DATABASE_URL": "postgresql://labels@db.lan/labels"}


@with_compose
@pytest.mark.parametrize(
    "given",
    [{}, EVERY, ELSEWHERE, {"CLUSTER": "ray"}],
    ids=["plain", "all", "database elsewhere", "a cluster of one machine"],
)
@pytest.mark.parametrize("gpu", [False, True], ids=["cpu", "gpu"])
def test_every_key_of_the_stacks_own_files_is_known(home: Home, gpu: bool, given: dict[str, str]) -> None:
    found = config(home, given, gpu)
    made = of(found)
    services = made.content["services"]
    assert services.keys() == found["services"].keys()
    for name, service in services.items():
        asked = found["services"][name]
        for key in ("command", "user", "read_only", "cap_drop", "init", "stop_grace_period"):
            assert service.get(key) == asked.get(key)
        checks = [{**(one["healthcheck"]), "retries": 0} for one in (service, asked)]
        assert checks[0] == checks[1] if name != "backup" else service["healthcheck"] == {"disable": True}
        limits = service["deploy"]["resources"]["limits"]
        assert limits == {"memory": asked["mem_limit"], "pids": asked["pids_limit"]}
        targets = {mount["target"] for mount in asked["volumes"]} | {"/tmp"}
        assert targets <= {mount["target"] for mount in service["volumes"]}
        assert service["networks"].keys() <= made.content["networks"].keys()
    told = "\n".join(made.told)
    assert "no-new-privileges" in told and "cpu_shares" in told and ("GPU" in told) == gpu
    ours = {name: value for name, value in found["services"].items() if value.get("cpu_shares")}
    assert all(name in told for name in ours)


@with_compose
def test_the_whole_stack_in_swarms_words(home: Home) -> None:
    found = config(home, EVERY)
    made = of(found, Places("here", "labelloop.backend")).content
    services = made["services"]
    places = {name: one["deploy"]["placement"]["constraints"] for name, one in services.items()}
    assert places.pop("mlbackend") == ["node.labels.labelloop.backend == true"]
    assert set(map(tuple, places.values())) == {("node.id == here",)}
    numbers = {name: one["deploy"]["replicas"] for name, one in services.items()}
    assert (numbers["labelstudio"], numbers["mlbackend"], numbers["trainer"]) == (2, 3, 1)
    orders = {name: one["deploy"]["update_config"]["order"] for name, one in services.items()}
    assert orders.pop("mlbackend") == "start-first" and set(orders.values()) == {"stop-first"}
    assert services["front"]["ports"] == [
        {"target": 8080, "published": 8080, "protocol": "tcp", "mode": "host"}
    ]
    assert not services["labelstudio"]["ports"]
    assert services["postgres"]["stop_signal"] == "SIGINT"
    assert {m["target"]: m["tmpfs"]["size"] for m in services["postgres"]["volumes"] if "tmpfs" in m} == {
        "/tmp": 2**30,
        "/dev/shm": 2**29,
    }
    assert services["backup"]["networks"].keys() == {"database"}
    assert "@postgres:5432/" in services["backup"]["environment"]["DATABASE_URL"]
    assert "@127.0.0.1:5432/" in services["postgres"]["environment"]["DATABASE_URL"]
    assert made["networks"]["database"] == {"driver": "overlay", "internal": True}
    assert made["networks"]["loop"]["ipam"] == {"config": [{"subnet": found_subnet(found)}]}
    held = {secret["source"] for secret in services["labelstudio"]["secrets"]}
    assert "API_TOKEN" in held and "S3_ACCESS_KEY" not in held, "Swarm takes no empty secret"
    assert made["secrets"].keys() >= held and "S3_ACCESS_KEY" not in made["secrets"]
    assert made["secrets"]["API_TOKEN"]["name"] == "labelloop_API_TOKEN_ab12"


def found_subnet(found: dict[str, Any]) -> str:
    return str(found["networks"]["loop"]["ipam"]["config"][0]["subnet"])


@with_compose
def test_nothing_secret_is_in_the_file(home: Home) -> None:
    text = json.dumps(of(config(home, {})).content)
    written = settings.load(home)
    assert not [name for name in known.SECRETS if written[name] in text]


@pytest.mark.parametrize("asked", [None, "1", "2", "5"])
@pytest.mark.parametrize("name", ["trainer", "mlbackend"])
def test_backends_know_that_there_are_others_while_one_is_replaced(name: str, asked: str | None) -> None:
    environment = {} if asked is None else {"BACKENDS": asked}
    service = {"user": "1:2", "networks": {"loop": None}, "environment": environment}
    found = {"name": "small", "services": {name: service}}
    assert of(found).content["services"][name]["environment"]["BACKENDS"] == max("2", asked or "")


def test_swarm_ends_no_container_for_what_a_new_one_does_not_mend() -> None:
    """The trainer's check fails while Label Studio is away, the backup's from a failed backup to the next."""
    check = {"test": ["CMD", "true"], "interval": "5s", "retries": 6}
    service = {"user": "1:2", "networks": {"loop": None}, "healthcheck": check}
    names = ("postgres", "labelstudio", "trainer", "front", "mlbackend", "backup")
    made = of({"name": "small", "services": dict.fromkeys(names, service)}).content["services"]
    found = {name: one["healthcheck"] for name, one in made.items()}
    assert found.pop("backup") == {"disable": True} and found.pop("mlbackend") == check
    for patient in found.values():
        seconds = 5 * patient["retries"]
        assert patient == {**check, "retries": patient["retries"]} and seconds > 30 * 24 * 3600


@pytest.mark.parametrize(
    ("mode", "internal"), [("none", True), ("bridge", False)], ids=["alone", "on the outside"]
)
def test_a_service_without_the_stacks_network_has_one_of_its_own(mode: str, internal: bool) -> None:
    found = {"name": "small", "services": {"one": {"user": "1:2", "network_mode": mode}}}
    made = of(found).content
    [network] = made["services"]["one"]["networks"]
    assert made["networks"][network].get("internal", False) is internal


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("privileged", True, "privileged"),
        ("network_mode", "host", "network_mode: host"),
        (
            "ports",
            [{"target": 1, "published": "6379", "protocol": "tcp", "host_ip": "192.0.2.1"}],
            "port 192.0.2.1:6379",
        ),
        ("ports", [{"target": 1, "published": "10-12", "protocol": "tcp"}], "port 0.0.0.0:10-12"),
        ("volumes", [{"type": "volume", "source": "a", "target": "/b"}], "a volume of type volume"),
        ("deploy", {"resources": {"reservations": {"cpus": "2"}}}, "reservations.cpus"),
    ],
)
def test_what_nobody_has_thought_of_is_refused_by_name(key: str, value: Any, told: str) -> None:
    with pytest.raises(Failure, match=f"one on a swarm: found .*{told}") as raised:
        one(**{key: value})
    assert "stack_file.py" in raised.value.text and "RUNTIME=docker" in raised.value.do


def test_the_form_of_a_service_is_told_by_its_spec() -> None:
    spec = stack_file.SPEC_LABEL
    first = one(environment={"A": "1"})["labels"][spec]
    assert first == one(environment={"A": "1"})["labels"][spec]
    assert first != one(environment={"A": "2"})["labels"][spec]
    assert one()["labels"][engine.FOLDER_LABEL] == "/somewhere"


def test_no_container_is_taken_for_one_of_composes() -> None:
    """Images that Compose built have this label."""
    assert one()["labels"]["com.docker.compose.project"] == ""


def test_unlimited_memory_stays_so() -> None:
    assert one(mem_limit="0")["deploy"]["resources"] == {"limits": {}}


def test_a_secret_is_its_users_alone() -> None:
    found = one(secrets=[{"source": "API_TOKEN", "target": "/run/secrets/API_TOKEN"}])
    assert found["secrets"] == [
        {"source": "API_TOKEN", "target": "API_TOKEN", "uid": "1", "gid": "2", "mode": 0o400}
    ]
