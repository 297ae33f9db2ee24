"""`make -n` shows what a target would do, and does none of it."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run_by_dry_runs(makefile: str) -> list[str]:
    """Return the commands that `make -n` runs all the same: those that name make itself."""
    commands = makefile.replace("\\\n", " ").splitlines()
    return [one for one in commands if re.search(r"\$[({]MAKE[)}]", one) and "$(BIN)" in one]


def test_a_dry_run_starts_no_test_and_removes_no_cluster():
    assert run_by_dry_runs((ROOT / "Makefile").read_text()) == []


def test_a_command_that_names_make_beside_another_is_found():
    commands = "e2e:\n\t$(BIN)/pytest; \\\n\t$(MAKE) cluster-down\n"

    assert len(run_by_dry_runs(commands)) == 1
