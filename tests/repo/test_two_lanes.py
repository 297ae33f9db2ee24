"""`make test` runs everything in two processes, and fails if either does."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path):
    """Return a checkout of three folders of tests, and a pytest that fails where it is told to."""
    for folder in ("operator", "server", "faults", "e2e", "testbed"):
        (tmp_path / "tests" / folder).mkdir(parents=True)
        (tmp_path / "tests" / folder / "test_one.py").touch()
    (tmp_path / "tests" / "golden").mkdir()
    pytest_stand_in = tmp_path / "pytest"
    pytest_stand_in.write_text(
        '#!/bin/sh\necho "ran: $*"\ncase "$*" in *"$FAILING"*) exit 3;; esac\n'
    )
    pytest_stand_in.chmod(0o755)
    shutil.copy(ROOT / "tools" / "two_lanes.sh", tmp_path)
    return tmp_path


def run(project: Path, failing: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["./two_lanes.sh", "./pytest", "tests/operator"],
        cwd=project, env={"PATH": "/usr/bin:/bin", "FAILING": failing},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_each_folder_runs_once(project):
    done = run(project, "nowhere")

    assert done.returncode == 0
    ran = [line.split(":")[1].split() for line in done.stdout.splitlines() if "ran:" in line]
    assert ran == [["tests/faults", "tests/server"], ["--timeout", "600", "tests/operator"]]


@pytest.mark.parametrize("failing", ["tests/operator", "tests/server"])
def test_a_failure_in_either_process_fails_the_run(project, failing):
    assert run(project, failing).returncode == 3


def test_the_folders_that_wait_for_no_clock_exist():
    makefile = (ROOT / "Makefile").read_text()
    line = next(one for one in makefile.splitlines() if one.startswith("VIRTUAL_TIME :="))

    assert all((ROOT / folder).is_dir() for folder in line.split(":=")[1].split())
