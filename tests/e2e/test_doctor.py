"""`make doctor` on a good stack, and on one whose ML backend hangs.

The backend is frozen, not killed: the host runtime would have it back before anybody looks.
"""

from support.stack import Stack, wait_for


def test_a_good_stack_has_no_problems(stack: Stack) -> None:
    output = stack.run("doctor", timeout=180)
    assert "No problems" in output and "PROBLEM" not in output
    assert "ok       mlbackend: healthy" in output


def test_a_backend_that_hangs_is_named_and_make_up_heals_it(stack: Stack) -> None:
    with stack.frozen("mlbackend"), stack.start("doctor") as looking:
        output, _ = looking.communicate(timeout=180)
    assert looking.returncode != 0 and "Error 1" in output, output
    named, fix = output.partition("PROBLEM  mlbackend: ")[1:]
    assert named and fix.splitlines()[2].strip() == "$ make up", output
    stack.run("up")
    wait_for("no problems", lambda: "No problems" in stack.run("doctor", check=False, timeout=180), 60)
