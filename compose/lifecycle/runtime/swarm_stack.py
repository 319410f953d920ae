"""The stack on a Docker swarm, deployed from the node that has volumes/."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NoReturn, Optional, Union

from lifecycle import engine
from lifecycle.backup import service as backup_service
from lifecycle.build import registry
from lifecycle.console import Board, Failure, note
from lifecycle.files import replace_text
from lifecycle.home import Home
from lifecycle.runtime import stack_file, swarm
from lifecycle.runtime.docker_stack import START_SECONDS, DockerStack, on_a_terminal
from lifecycle.runtime.rollout import HEALTHY, Rollout, Trouble, state_of
from lifecycle.runtime.stack_file import MOVABLE, SPEC_LABEL, Places
from lifecycle.settings.known import ALL_SECRETS
from lifecycle.settings.settings import Settings
from lifecycle.shell import answer, ask, run

CONFIG_SECONDS = 60.0
STOP_SECONDS = 180.0
TAG = "stack-"
"""Before a hash of what an image is: a name that means the same on every node."""
_LOG_LINES = "25"
_NAMED = "{{.Repository}}:{{.Tag}}"
# What Docker says of a task that can't run, and the way out.
_REFUSALS = (
    (
        "No such image",
        "`make publish REGISTRY=…`, then `make stack REGISTRY=…`; or bring it there: "
        "`docker save {image} | ssh {node} docker load`.",
    ),
    (
        "bind source path does not exist",
        "Mount this checkout there at the same path, or take the node's label away: "
        f"`docker node update --label-rm {swarm.BACKEND_LABEL} {{node}}`.",
    ),
    (
        "no suitable node",
        "`docker node ls` says which are ready; `docker node update --availability active` takes one back.",
    ),
)


class SwarmStack(DockerStack):
    """As `DockerStack`, where Swarm runs the containers. All but the ML backends are on this node.

    While it is stopped, what needs a container of its own has Compose's, of the same files.
    """

    def __init__(self, home: Home, settings: Settings) -> None:
        super().__init__(
            home, settings.project_name, own_postgres=settings.own_postgres, front=settings.replicas > 1
        )
        self._settings = settings

    def start(self) -> None:
        """Deploys what changed, and waits until each service runs in its newest form; a line for each.

        Raises:
            Failure: this is no manager; an image can't be had on a node; a service ends again and again, was
                rolled back, or doesn't run in START_SECONDS.
        """
        made = self._file()
        for told in made.told:
            note(f"not on a swarm: {told}")
        path = self._home.run / "stack.json"
        replace_text(path, json.dumps(made.content, indent=1), 0o600)
        before = [task.id for task in swarm.tasks(self._project)]
        run(
            [
                *_stack("deploy"),
                *("--prune", "--resolve-image", "never", "--with-registry-auth"),
                *("--compose-file", str(path), self._project),
            ],
            what="deploying the stack",
            cwd=self._home.root,
            quiet=True,
        )
        services = made.content["services"]
        order = [*self._services, *sorted(services.keys() - set(self._services))]
        self._wait({name: services[name] for name in order}, before)
        self._remove_old(made.content)

    def containers(self) -> list[dict[str, Any]]:
        return swarm.containers(self._project)

    def states(self) -> dict[str, str]:
        """Service → healthy, starting or failing. Swarm calls a task running once its health check does."""
        tasks = swarm.tasks(self._project)
        return {
            one.name: state_of(one, [task for task in tasks if task.service == one.name])
            for one in swarm.services(self._project)
        }

    def is_there(self) -> bool:
        """As for Compose. Where no manager answers, containers run on."""
        return bool(swarm.services(self._project) or self.containers()) or engine.engine_version() is None

    def runs_here(self) -> bool:
        return swarm.runs_of(str(self._home.root))

    def stop(self) -> None:
        """Raises Failure: no manager answers, or a container of this node still runs after STOP_SECONDS."""
        run(
            [*_stack("rm"), self._project],
            what="stopping the stack",
            do="`docker node ls`, here and on the other managers, says why none takes it.",
            quiet=True,
        )
        deadline = time.monotonic() + STOP_SECONDS
        while swarm.containers(self._project) or swarm.networks(self._project):
            if time.monotonic() > deadline:
                raise Failure(
                    "stopping the stack",
                    found=f"containers or networks of it after {STOP_SECONDS:.0f} s",
                    do=f"`docker ps --filter label={swarm.NAMESPACE}={self._project}` lists them.",
                )
            time.sleep(1)

    def logs(self, follow: bool) -> NoReturn:
        """Of all services at once; each line begins with the task and its node."""
        found = swarm.services(self._project)
        if not found:
            raise Failure("there are no logs", do="`make stack` starts the stack.")
        options = ["--tail", "200", *(["--follow"] if follow else [])]
        told = [
            subprocess.Popen(["docker", "service", "logs", *options, f"{self._project}_{one.name}"])
            for one in found
        ]
        sys.exit(max(each.wait() for each in told))

    def complaint(self, service: str) -> str:
        """Why the service's last task ended; else the last line of its log."""
        errors = [task.error for task in swarm.tasks(self._project) if task.service == service and task.error]
        return errors[0] if errors else self.last_words(service).splitlines()[-1]

    def last_words(self, service: str) -> str:
        told = answer(
            ["docker", "service", "logs", "--raw", "--tail", _LOG_LINES, f"{self._project}_{service}"]
        )
        return told or "(no log)"

    def labelloop_reading(
        self,
        arguments: Sequence[Union[str, Path]],
        project: Optional[str],
        readable: Sequence[Path],
        variable: Optional[str],
    ) -> NoReturn:
        """Raises Failure: Swarm starts no container beside the trainer's that sees more than it does."""
        raise Failure(
            "make import DATASET=…",
            found="the stack on a swarm",
            needed="Compose, which starts a container beside the trainer's that sees the dataset",
            do="`make down`, `make up RUNTIME=docker`, the import, `make down`, `make stack`.",
        )

    def backup_service(self, arguments: Sequence[str], stdin: bytes = b"") -> str:
        """What `lifecycle.backup_service …` prints: in the service's container while anything runs. Compose's
        container would bring a second PostgreSQL.
        """
        if not self.is_there():
            return super().backup_service(arguments, stdin)
        done = subprocess.run(
            self._within("backup", *backup_service.PROGRAM, *arguments, quiet=True),
            input=stdin,
            stdout=subprocess.PIPE,
        )
        if not done.stdout:
            raise Failure(f"the backup service ended with {done.returncode}", do="Its reason is above.")
        return done.stdout.decode()

    def _within(
        self, service: str, *program: str, told: Sequence[str] = (), quiet: bool = False
    ) -> list[str]:
        here = swarm.containers(self._project, service)
        if not here:
            raise Failure(
                f"{service}'s container",
                found="none on this node",
                needed="one",
                do="Where `make stack` was run is the node that has it; `make status` says how it is.",
            )
        options = ["--interactive", *(["--tty"] if not quiet and on_a_terminal() else []), *told]
        return ["docker", "exec", *options, here[0]["Id"], *program]

    def _file(self) -> stack_file.StackFile:
        """What to deploy. Names the images by what they are, and has other nodes find theirs."""
        config: dict[str, Any] = json.loads(
            ask(engine.compose("config", "--format", "json"), cwd=self._home.root, seconds=CONFIG_SECONDS)
        )
        backends = swarm.nodes_with(swarm.BACKEND_LABEL)
        places = Places(swarm.this_node(), swarm.BACKEND_LABEL if backends else None)
        elsewhere = sorted(name for node, name in backends.items() if node != places.here)
        return stack_file.made_of(
            config,
            folder=str(self._home.root),
            images={
                name: self._image(name, service["image"], elsewhere if name in MOVABLE else [])
                for name, service in config["services"].items()
            },
            places=places,
            secrets_stamp=self._settings["SECRETS_STAMP"],
            empty_secrets=[name for name in ALL_SECRETS if not self._settings.get(name)],
        )

    def _image(self, service: str, name: str, elsewhere: Sequence[str]) -> str:
        """What an image is called where it goes. elsewhere: the other nodes that it goes to, if any.

        Raises:
            Failure: it isn't here, or REGISTRY doesn't have it for the others.
        """
        identity = answer(["docker", "image", "inspect", "--format", "{{.Id}}", name])
        if not identity:
            raise Failure(f"the image {name}", found="none", needed="one", do="`make build` makes it.")
        if elsewhere and self._settings.get("REGISTRY"):
            return self._published(service, name)
        tag = f"{name.partition(':')[0]}:{TAG}{identity.partition(':')[2][:12]}"
        if answer(["docker", "tag", name, tag]) is None:
            raise Failure(f"the engine doesn't name {name} {tag}", do="`docker images` lists what there is.")
        if elsewhere:
            note(f"without REGISTRY, {', '.join(elsewhere)} must have {tag}: docker save, docker load")
        return tag

    def _published(self, service: str, name: str) -> str:
        version = registry.label(name, registry.VERSION_LABEL) or ""
        there = registry.reference(self._settings["REGISTRY"], service, version)
        why = registry.pull(there)
        if why is not None:
            raise Failure(
                there,
                found=why,
                needed="an image that every node may pull",
                do=f"`make publish REGISTRY={self._settings['REGISTRY']}` pushes it.",
            )
        return answer(["docker", "image", "inspect", "--format", "{{index .RepoDigests 0}}", there]) or there

    def _wait(self, wanted: dict[str, Any], before: Collection[str]) -> None:
        """wanted: service → what was deployed, in order. before: the ids of the tasks from before that."""
        started = time.monotonic()
        board = Board(list(wanted))
        rollout = Rollout({name: one["labels"][SPEC_LABEL] for name, one in wanted.items()}, before)
        while True:
            seconds = time.monotonic() - started
            services, tasks = swarm.services(self._project), swarm.tasks(self._project)
            states = rollout.look(services, tasks, seconds)
            board.show(states, seconds)
            if rollout.trouble is not None:
                raise self._failure(rollout.trouble, wanted[rollout.trouble.service]["image"])
            if all(state == HEALTHY for state in states.values()):
                return
            if seconds > START_SECONDS:
                late = next(name for name in wanted if states[name] != HEALTHY)
                trouble = Trouble(late, "", f"{states[late]} after {seconds:.0f} s")
                raise self._failure(trouble, wanted[late]["image"])
            time.sleep(1)

    def _failure(self, trouble: Trouble, image: str) -> Failure:
        node = swarm.node_name(trouble.node) if trouble.node else ""
        where = f" on {node}" if node else ""
        words = self.last_words(trouble.service)
        ways = (do.format(image=image, node=node or "NODE") for said, do in _REFUSALS if said in trouble.why)
        return Failure(
            f"{trouble.service}{where}: {trouble.why}. Its last words:\n\n{words}\n",
            do=next(ways, "`make logs` shows more; `make stack` tries again."),
        )

    def _remove_old(self, content: dict[str, Any]) -> None:
        """Secrets and names of images that the stack no longer needs; Docker keeps what anything uses."""
        secrets = {secret["name"] for secret in content["secrets"].values()}
        ours = f"label={swarm.NAMESPACE}={self._project}"
        listed = answer(["docker", "secret", "ls", "--filter", ours, "--format", "{{.Name}}"])
        for name in set((listed or "").split()) - secrets:
            answer(["docker", "secret", "rm", name])
        used = {service["image"] for service in content["services"].values()}
        for tag in {f"{image.partition(':')[0]}:{TAG}*" for image in used}:
            there = answer(["docker", "images", "--filter", f"reference={tag}", "--format", _NAMED]) or ""
            for name in set(there.split()) - used:
                answer(["docker", "image", "rm", name])


def _stack(verb: str) -> list[str]:
    """The command, which is to begin it and not to wait: we do, and say how far it is. Newer Dockers ask."""
    command = ["docker", "stack", verb]
    return [*command, *(["--detach"] if "--detach" in (answer([*command, "--help"]) or "") else [])]
