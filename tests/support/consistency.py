"""What holds of a whole stack at any moment, whatever was done to it; and one such thing."""

from support.stack import Stack, wait_for
from support.unpredicted import without_prediction_of

from labelloop.registry import Registry
from labelloop.task_filters import UNLABELLED


def rounds_of(stack: Stack) -> list[tuple[str, str | None]]:
    """Every round's state and error, oldest first."""
    rows = stack.query("trainer", "rounds/rounds.sqlite3", "select state, error from rounds order by id")
    return [(state, error) for state, error in rows]


def check_consistent(stack: Stack) -> None:
    """Whole databases, whole versions, a pointer to one of them, every task predicted once by each
    version."""
    for service, path in (
        ("labelstudio", "labelstudio/label_studio.sqlite3"),
        ("trainer", "rounds/rounds.sqlite3"),
    ):
        assert stack.query(service, path, "pragma integrity_check") == [["ok"]], path
    models = Registry(stack.home / "volumes/models").project(1)
    assert models.champion() in models.versions()
    for version in models.versions():
        models.check(version)
    for task, rows in stack.predictions().items():
        versions = [row["model_version"] for row in rows]
        assert len(versions) == len(set(versions)), f"task {task} has {versions}"


def everything_pre_labelled(stack: Stack) -> bool:
    champion = Registry(stack.home / "volumes/models").project(1).champion() or ""
    studio = stack.studio()
    done = not studio.count_tasks(1, UNLABELLED, without_prediction_of(champion))
    return done and studio.project(1)["model_version"] == champion


def killed_while_booting(stack: Stack, service: str) -> None:
    """A stack that is down is started, and the service killed as soon as it runs; then `make up` again."""
    with stack.start("up") as booting:
        wait_for(f"{service} to be killed", lambda: stack.kill(service), 300, every=0.2)
        booting.communicate(timeout=900)
    stack.run("up")
