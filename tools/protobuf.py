"""Generate the protobuf and gRPC stubs that are checked in beside their .proto files.

Run by `make proto`; `tests/repo` runs it into a scratch folder and compares.
"""

import os
import sys
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
SOURCES = {
    "client": ["types", "query", "errors", "aql", "admin", "backup"],
    "server": ["peer", "command", "state"],
}
PACKAGES = {"client": "amaters/wire", "server": "amaters_server/wire"}
WITH_SERVICES = {"aql", "admin", "peer"}


def generate(target: Path) -> None:
    """Write all stubs below the target folder, laid out as in the checkout."""
    # protoc finds its plugins by PATH: those beside this Python come first.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    well_known = str(resources.files("grpc_tools") / "_proto")
    for folder, names in SOURCES.items():
        out = target / folder
        out.mkdir(parents=True, exist_ok=True)
        for name in names:
            arguments = [
                "protoc",
                f"-I{ROOT / folder}",
                f"-I{ROOT / 'client'}",
                f"-I{well_known}",
                f"--python_out={out}",
                f"--mypy_out=quiet:{out}",
            ]
            if name in WITH_SERVICES:
                arguments += [f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}"]
            if protoc.main([*arguments, f"{PACKAGES[folder]}/{name}.proto"]):
                sys.exit(f"protoc failed on {name}.proto")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
