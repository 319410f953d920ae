"""The compose files, as Docker Compose itself reads them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import compose_files

from labelloop import ray_environment
from lifecycle import engine
from lifecycle.home import Home
from lifecycle.settings import known, secret_files, settings

REPO = Path(__file__).parents[3]

pytestmark = pytest.mark.skipif(engine.compose_version() is None, reason="no Docker Compose")


def config(home: Home, accelerator: str = "cpu", gpu: bool = True) -> dict[str, Any]:
    compose_files.put(home.root)
    settings.keep(home, {"DETECTOR": "yolox_s"})
    settings.complete(home, host_runtime=False, accelerator=accelerator, gpu=gpu)
    return compose_files.composed(home.root)


def test_only_label_studio_and_the_dashboard_are_published_and_on_loopback_alone(home: Home) -> None:
    published = {
        name: [(port["host_ip"], port["published"], port["target"]) for port in service["ports"]]
        for name, service in config(home)["services"].items()
        if service.get("ports")
    }
    assert published == {
        "labelstudio": [("127.0.0.1", "8080", 8080)],
        "trainer": [("127.0.0.1", "8081", 9292)],
    }


def test_every_service_is_confined(home: Home) -> None:
    for service in config(home)["services"].values():
        assert service["read_only"] and service["init"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not service["user"].startswith("0:")
        assert service["restart"] == "unless-stopped"
        assert 0 < service["pids_limit"] <= 4096
        assert int(service["mem_limit"]) >= 2**30
        assert [entry.split(",")[0] for entry in service["tmpfs"]] in (["/tmp:size=1g"], ["/tmp:size=2g"])
        assert not [mount for mount in service.get("volumes", ()) if "docker.sock" in mount["source"]]
        assert service["healthcheck"]["test"][:3] == ["CMD", "python", "-m"]
        assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}


def test_each_service_has_the_secrets_it_needs_and_no_other(home: Home) -> None:
    labelstudio = {
        *("ADMIN_PASSWORD", "API_TOKEN", "SECRET_KEY", "BACKEND_PASSWORD"),
        *("S3_ACCESS_KEY", "S3_SECRET_KEY"),
    }
    model = {"API_TOKEN", "BACKEND_PASSWORD", "TRAINER_PASSWORD"}
    dashboard = {"DASHBOARD_SECRET"}
    secrets = labelstudio | model | dashboard
    services = config(home)["services"]
    held = {
        name: {secret["source"] for secret in service.get("secrets", ())}
        for name, service in services.items()
    }
    assert held == {
        "labelstudio": labelstudio,
        "trainer": model | dashboard,
        "mlbackend": model,
        "backup": set(),
    }
    for service in services.values():
        assert not secrets & service["environment"].keys()


def test_no_secret_is_in_what_compose_makes_of_the_files(home: Home) -> None:
    settings.complete(home, host_runtime=False, accelerator="cpu")
    secret_files.publish(home, settings.load(home))
    text = json.dumps(config(home))
    written = settings.load(home)
    assert not [name for name in known.SECRETS if written[name] in text]
    assert written[secret_files.STAMP] in text


def test_a_service_is_made_anew_when_the_configuration_of_its_programs_has_changed(home: Home) -> None:
    def labels() -> set[str]:
        services = config(home)["services"]
        return {services[name]["labels"]["labelloop.programs"] for name in engine.SERVICES}

    first = labels()
    for name in ("configs/gunicorn/mlbackend.py", "configs/supervisor/trainer.conf"):
        (home.root / name).parent.mkdir()
        (home.root / name).write_text("changed")
        second = labels()
        assert len(second) == 1 and second != first and "" not in second
        first = second
    assert labels() == first


def test_the_operators_settings_win_over_the_shipped_ones(home: Home) -> None:
    environment = config(home)["services"]["trainer"]["environment"]
    assert (environment["DETECTOR"], environment["RETRAIN_EVERY"]) == ("yolox_s", "50")


def test_a_gpu_is_reserved_only_when_it_is_chosen_and_there(home: Home) -> None:
    on_cpu = [(config(home)["services"], ":cpu"), (config(home, "cuda", gpu=False)["services"], ":cuda")]
    on_gpu = config(home, "cuda")["services"]
    for name in ("mlbackend", "trainer"):
        for services, image in on_cpu:
            assert services[name]["image"].endswith(image) and "deploy" not in services[name]
            assert services[name]["environment"]["ACCELERATOR"] == "cpu"
        assert on_gpu[name]["image"].endswith(":cuda")
        assert on_gpu[name]["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
        assert on_gpu[name]["environment"]["ACCELERATOR"] == "cuda"
        assert on_gpu[name]["environment"]["SECRETS_DIR"], "what the service has otherwise stays"


def test_the_backup_service_has_no_network_and_the_trainer_sees_no_archive(home: Home) -> None:
    services = config(home)["services"]
    assert services["backup"]["network_mode"] == "none"
    mounts = {name: {mount["target"] for mount in service["volumes"]} for name, service in services.items()}
    archives = "/labelloop/volumes/backups"
    assert {name for name, targets in mounts.items() if archives in targets} == {"backup"}
    assert f"{archives}/status" in mounts["trainer"]


def test_the_trainers_temporary_databases_lie_on_a_volume_not_in_memory(home: Home) -> None:
    trainer = config(home)["services"]["trainer"]
    folder = trainer["environment"]["SQLITE_TMPDIR"]
    assert [volume["target"] for volume in trainer["volumes"] if volume["target"] == folder] == [folder]


def test_the_backup_service_runs_on_what_the_checkout_brings_alone(home: Home) -> None:
    """`make upgrade` starts it in the former version's image, whose packages know nothing of the new code."""
    service = config(home)["services"]["backup"]
    mounted = {mount["target"]: mount["source"] for mount in service["volumes"]}
    seen = home.root / "container"
    for target in ("/labelloop/compose", "/labelloop/images/base/labelloop"):
        source = REPO / Path(mounted[target]).relative_to(home.root)
        (seen / target[1:]).parent.mkdir(parents=True, exist_ok=True)
        (seen / target[1:]).symlink_to(source)
    former = home.root / "former" / "labelloop"
    former.mkdir(parents=True)
    (former / "__init__.py").write_text("")
    search = service["environment"]["PYTHONPATH"].split(":")
    path = [*(f"{seen}{folder}" for folder in search), str(former.parent)]
    code = f"import sys; sys.path[:0] = {path!r}; import lifecycle.backup_service"
    command = [sys.executable, "-I", "-S", "-B", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_every_service_gets_the_proxy_and_the_certificates(home: Home) -> None:
    (home.root / "configs" / "ca.pem").write_text("")
    given = {"HTTPS_PROXY": "http://proxy:3128", "CA_BUNDLE": "configs/ca.pem", "USER_AGENT": "a (b)"}
    settings.keep(home, given)
    for name, service in config(home)["services"].items():
        assert given.items() <= service["environment"].items() or name == "base", name


def test_services_start_at_once_in_order(home: Home) -> None:
    """Each asks for the others until they answer. Waiting for one after the other took 14 of 40 s."""
    services = with_database(home, {"DATABASE": "postgres"})["services"]
    waits = {
        (name, other): how["condition"]
        for name, service in services.items()
        for other, how in (service.get("depends_on") or {}).items()
    }
    assert waits == {
        ("labelstudio", "postgres"): "service_healthy",
        ("backup", "postgres"): "service_healthy",
        ("trainer", "labelstudio"): "service_started",
        ("mlbackend", "trainer"): "service_started",
    }


def test_a_busy_machine_makes_no_backup_service_unhealthy(home: Home) -> None:
    """With the fewest shares of the processor, and one failure that counts, its check took more than 5 s."""
    services = with_database(home, {"DATABASE": "postgres"})["services"]
    last = min(services, key=lambda name: services[name].get("cpu_shares", 1024))
    assert last == "backup" and services[last]["healthcheck"]["retries"] == 1
    assert services[last]["healthcheck"]["timeout"] == "30s"


def test_no_service_fetches_from_the_stacks_own_network(home: Home) -> None:
    """Label Studio for people who import by URL, the others for tasks that name an image there."""
    made = config(home)
    subnet = made["networks"]["loop"]["ipam"]["config"][0]["subnet"]
    for name in ("labelstudio", "trainer", "mlbackend"):
        assert made["services"][name]["environment"]["STACK_SUBNET"] == subnet


def with_database(home: Home, given: dict[str, str]) -> dict[str, Any]:
    settings.keep(home, given)
    return config(home)


def test_the_stacks_own_postgresql_is_reached_by_label_studio_and_backups_alone(home: Home) -> None:
    made = with_database(home, {"DATABASE": "postgres"})
    services = made["services"]
    assert made["networks"]["database"]["internal"]
    networks = {name: set(service.get("networks") or ()) for name, service in services.items()}
    assert networks["postgres"] == {"database"} and networks["labelstudio"] == {"database", "loop"}
    assert not any("database" in networks[name] for name in ("trainer", "mlbackend"))
    assert services["backup"]["network_mode"] == "service:postgres"
    assert not services["postgres"].get("ports")
    holders = {
        name
        for name, service in services.items()
        if any(secret["source"] == "DATABASE_PASSWORD" for secret in service.get("secrets", ()))
    }
    assert holders == {"postgres", "labelstudio", "backup"}
    assert services["labelstudio"]["depends_on"]["postgres"]["condition"] == "service_healthy"
    assert {services[name]["image"] for name in ("postgres", "backup")} == {"labelloop/postgres"}


def test_the_container_of_postgresql_is_confined_as_the_others_are(home: Home) -> None:
    service = with_database(home, {"DATABASE": "postgres"})["services"]["postgres"]
    assert service["read_only"] and service["init"] and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"] and not service["user"].startswith("0:")
    assert service["restart"] == "unless-stopped" and 0 < service["pids_limit"] <= 4096
    assert service["stop_signal"] == "SIGINT", "which does not wait for connections to end"


def test_a_postgresql_that_exists_is_named_to_whom_asks_it(home: Home) -> None:
    url = "postgresql://labels@db.example.com/labels?sslmode=verify-full"
    services = with_database(home, {"DATABASE_URL": url})["services"]
    assert "postgres" not in services
    named = {name for name, one in services.items() if one["environment"].get("DATABASE_URL") == url}
    assert named == {"labelstudio", "backup"}
    assert services["backup"]["network_mode"] == "bridge", "the stack's own is none of its business"


def test_without_postgresql_nothing_of_it_is_there(home: Home) -> None:
    made = config(home)
    assert "postgres" not in made["services"] and "database" not in made["networks"]
    assert "DATABASE_PASSWORD" not in json.dumps(made)
    assert made["services"]["backup"]["image"] == "labelloop/labelstudio"


def test_several_of_label_studio_are_behind_a_proxy_that_alone_is_published(home: Home) -> None:
    made = with_database(home, {"DATABASE": "postgres", "REPLICAS": "3", "BIND": "192.0.2.10"})
    services = made["services"]
    assert services["labelstudio"]["deploy"]["replicas"] == 3
    assert not services["labelstudio"].get("ports")
    [port] = services["front"]["ports"]
    assert (port["host_ip"], port["published"], port["target"]) == ("192.0.2.10", "8080", 8080)
    assert set(services["front"]["networks"]) == {"loop"} and not services["front"].get("secrets")
    assert services["labelstudio"]["environment"]["LABELSTUDIO_FRONT"], "it heeds the browsers' addresses"
    assert not {"REPLICAS", "DATABASE_PASSWORD"} & services["labelstudio"]["environment"].keys()
    assert services["labelstudio"]["environment"]["DATABASE_URL"], "what the service has otherwise stays"


def test_the_proxys_container_is_confined_as_the_others_are(home: Home) -> None:
    service = with_database(home, {"DATABASE": "postgres", "REPLICAS": "2"})["services"]["front"]
    assert service["read_only"] and service["init"] and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"] and not service["user"].startswith("0:")
    assert service["restart"] == "unless-stopped" and 0 < service["pids_limit"] <= 4096
    assert [(mount["target"], mount.get("read_only")) for mount in service["volumes"]] == [
        ("/labelloop/configs", True)
    ]


@pytest.mark.parametrize("accelerator", ["cpu", "cuda"])
def test_several_ml_backends_know_of_each_other(home: Home, accelerator: str) -> None:
    settings.keep(home, {"BACKENDS": "2"})
    services = config(home, accelerator)["services"]
    service = services["mlbackend"]
    assert service["deploy"]["replicas"] == 2 and service["environment"]["BACKENDS"] == "2"
    assert services["trainer"]["environment"]["BACKENDS"] == "2"
    assert "replicas" not in services["trainer"].get("deploy", {})
    assert service["environment"]["SECRETS_DIR"], "what the service has otherwise stays"
    assert bool(service["deploy"].get("resources")) == (accelerator == "cuda")


def test_a_heads_trainer_has_ray_its_secret_and_no_port_more(home: Home) -> None:
    settings.keep(home, {"CLUSTER": "ray"})
    made = config(home)
    trainer = made["services"]["trainer"]
    assert trainer["image"] == "labelloop/cluster:cpu" and not trainer.get("build")
    assert [port["target"] for port in trainer["ports"]] == [9292] and set(trainer["networks"]) == {"loop"}
    assert trainer["environment"]["RAY_USE_TLS"] == "1" and trainer["environment"]["RAY_AUTH_MODE"] == "token"
    folder, token = Path("/labelloop/volumes/run/cluster"), Path("/run/secrets/CLUSTER_TOKEN")
    assert ray_environment.variables(folder, token).items() <= trainer["environment"].items()
    assert trainer["environment"]["SQLITE_TMPDIR"], "what the service has otherwise stays"
    holders = {
        name
        for name, service in made["services"].items()
        if any(secret["source"] == "CLUSTER_TOKEN" for secret in service.get("secrets", ()))
    }
    assert holders == {"trainer"}
    assert trainer["read_only"] and trainer["cap_drop"] == ["ALL"], "it is confined as before"


def test_a_head_that_others_may_join_is_on_the_hosts_network_and_the_rest_reaches_it(home: Home) -> None:
    settings.keep(home, {"CLUSTER": "ray", "CLUSTER_BIND": "192.0.2.10"})
    services = config(home)["services"]
    trainer = services["trainer"]
    assert trainer["network_mode"] == "host" and not trainer.get("networks") and not trainer.get("ports")
    gateway = settings.load(home).gateway
    assert trainer["environment"]["TRAINER_BIND"] == f"{gateway}:9191", "not on the host's other addresses"
    assert trainer["environment"]["DASHBOARD_BIND"] == "127.0.0.1:8081"
    for name in ("labelstudio", "mlbackend"):
        assert f"trainer={gateway}" in services[name]["extra_hosts"]
    [port] = services["mlbackend"]["ports"]
    assert port["host_ip"] == "127.0.0.1"


@pytest.mark.parametrize("accelerator", ["cpu", "cuda"])
def test_a_machine_that_has_joined_has_a_confined_node_with_one_secret(home: Home, accelerator: str) -> None:
    home.env_file.write_text("CLUSTER_HEAD=192.0.2.10:6379\n")
    service = config(home, accelerator)["services"]["worker"]
    assert service["network_mode"] == "host" and service["image"] == f"labelloop/cluster:{accelerator}"
    assert [secret["source"] for secret in service["secrets"]] == ["CLUSTER_TOKEN"]
    assert service["read_only"] and service["init"] and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"] and not service["user"].startswith("0:")
    assert service["restart"] == "unless-stopped" and 0 < service["pids_limit"] <= 4096
    assert service["environment"]["ACCELERATOR"] == accelerator
    assert bool(service.get("deploy")) == (accelerator == "cuda")
    writable = {mount["target"] for mount in service["volumes"] if not mount.get("read_only")}
    assert writable == {f"/labelloop/volumes/{name}" for name in ("models", "rounds", "cache", "run/cluster")}
