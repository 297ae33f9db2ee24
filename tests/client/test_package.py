"""The package offers what it says, and its documents say what it does."""

import importlib
import inspect
import pkgutil
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import amaters
import pytest
from amaters import compat, errors

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("package", [amaters, compat])
def test_everything_offered_exists_in_order(package: ModuleType) -> None:
    assert package.__all__ == sorted(package.__all__)
    for name in package.__all__:
        assert getattr(package, name) is not None


def test_nothing_but_what_is_offered_can_be_had() -> None:
    assert set(amaters._HOMES) | {"__version__"} == set(amaters.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = amaters.Nothing


def test_the_wire_is_imported_without_grpc() -> None:
    check = "import sys, amaters.wire.types_pb2, amaters.errors; print('grpc' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)

    assert ran.stdout == "False\n"


def test_every_error_is_offered() -> None:
    raised = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.AmatersError)
    }

    assert raised <= set(amaters.__all__)


def test_no_module_of_the_client_needs_the_server_or_the_operator() -> None:
    for found in pkgutil.walk_packages(amaters.__path__, "amaters."):
        if found.name.endswith("__main__"):
            continue
        module = importlib.import_module(found.name)
        assert not any(
            getattr(value, "__module__", "").startswith(("amaters_server", "amaters_operator"))
            for value in vars(module).values()
            if inspect.isclass(value) or inspect.isfunction(value)
        ), found.name


def test_the_reference_of_the_command_line_is_fresh() -> None:
    tool = runpy.run_path(str(ROOT / "tools" / "cli_reference.py"))

    fresh = tool["reference"]()

    assert (ROOT / "docs" / "cli.md").read_text() == fresh, "run `python tools/cli_reference.py`"
