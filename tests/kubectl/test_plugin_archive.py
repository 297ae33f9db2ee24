"""The archive of the plugin: it runs with a bare Python, and is the same whenever it is built."""

import hashlib
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def build(target: Path) -> Path:
    tool = [sys.executable, str(ROOT / "tools" / "plugin.py"), str(target)]
    subprocess.run(tool, check=True, capture_output=True, cwd=ROOT)
    return target


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    return build(tmp_path_factory.mktemp("plugin"))


def run(built: Path, *arguments: str, path: str = "/usr/bin:/bin") -> subprocess.CompletedProcess:
    """Run it without site-packages: whatever is not in the archive cannot be imported."""
    return subprocess.run(
        [sys.executable, "-I", "-S", str(built / "kubectl-amaters"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": path, "HOME": "/nowhere", "FAKE_KUBECTL": os.environ.get("FAKE_KUBECTL", "")},
    )


def test_it_runs_without_any_installed_package(built, kube):
    answer = run(built, "status", "orders", "-o", "yaml", path=f"{kube.folder}:/usr/bin:/bin")

    assert answer.returncode == 0, answer.stderr
    assert yaml.safe_load(answer.stdout)["health"] == "healthy"


@pytest.mark.parametrize("name", ["logs", "support-bundle", "completion"])
def test_every_kind_of_command_is_in_it(built, name):
    assert "Example" in run(built, name, "--help").stdout


def test_nothing_compiled_and_nothing_else_of_ours_is_in_it(built):
    names = zipfile.ZipFile(built / "kubectl-amaters").namelist()

    assert [one for one in names if not one.endswith(".py")] == []
    assert [one for one in names if one.startswith(("amaters_operator", "amaters_server"))] == []
    assert [one for one in names if "grpc" in one or "pydantic" in one] == []


def test_the_same_sources_make_the_same_bytes(built, tmp_path):
    again = build(tmp_path)

    for name in ("kubectl-amaters", "kubectl-amaters.tar.gz", "amaters.yaml"):
        assert (built / name).read_bytes() == (again / name).read_bytes()


def test_the_manifest_of_krew_describes_the_archive(built):
    manifest = yaml.safe_load((built / "amaters.yaml").read_text())
    [platform] = manifest["spec"]["platforms"]
    packed = built / "kubectl-amaters.tar.gz"

    with tarfile.open(packed) as archive:
        names = archive.getnames()
        assert archive.getmember("kubectl-amaters").mode == 0o755
    assert platform["sha256"] == hashlib.sha256(packed.read_bytes()).hexdigest()
    assert platform["bin"] in names
    assert {"LICENSE", "licenses/click/LICENSE.txt", "licenses/pyyaml/LICENSE"} <= set(names)


def test_an_old_python_is_told_what_is_needed(built):
    first = zipfile.ZipFile(built / "kubectl-amaters").read("__main__.py").decode()
    old = "import sys\nsys.version_info = (3, 9, 0)\n" + first.partition("import sys\n")[2]

    answer = subprocess.run(
        [sys.executable, "-c", old], capture_output=True, text=True, check=False
    )

    assert answer.returncode == 1
    assert answer.stderr == "kubectl amaters needs Python 3.11 or newer: python3 is 3.9 here\n"
