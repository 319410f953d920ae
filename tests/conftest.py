"""What every suite relies on."""

import os
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings
from support.shares import Shares
from xdist.remote import Producer

# Waiting threads that spin, the default, slow one another down many times over on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# A proxy of the machine has no business in talks between programs on it.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"

# The same examples every time, unless HYPOTHESIS_PROFILE=thorough asks for many and for others.
settings.register_profile(
    "steady",
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.register_profile(
    "thorough", settings.get_profile("steady"), max_examples=2000, derandomize=False, print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test's output with halves of characters escaped, since xdist can't carry these between processes."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Shares | None:
    return Shares(config, log) if config.getvalue("dist") == "loadfile" else None
