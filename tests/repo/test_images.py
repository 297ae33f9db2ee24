"""The images: one Dockerfile for every processor, and a list with digests for an air gap."""

import json
import re
from hashlib import sha256
from pathlib import Path

import pytest

from tools import images

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILES = sorted(ROOT.glob("Dockerfile.*"))
OF_ONE_PROCESSOR = re.compile(r"x86_64|amd64|aarch64|arm64|--platform", re.IGNORECASE)


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_a_dockerfile_builds_on_every_processor(file: Path):
    """`docker buildx build --platform linux/amd64,linux/arm64` runs it once on each."""
    instructions = [line for line in file.read_text().splitlines() if not line.startswith("#")]

    assert [line for line in instructions if OF_ONE_PROCESSOR.search(line)] == []


def test_the_native_code_is_of_no_processor():
    sources = [*(ROOT / "server" / "native" / "src").rglob("*.rs")]
    sources += [ROOT / "server" / "native" / "Cargo.toml", *(ROOT / ".cargo").glob("*.toml")]
    words = re.compile(r"target_arch|target_feature|core::arch|std::arch|target-cpu")

    assert len(sources) > 20
    assert [file for file in sources if words.search(file.read_text())] == []


def test_the_list_is_what_the_charts_use():
    assert images.LIST.read_text() == images.as_text(images.needed()), (
        "run `python -m tools.images --write`"
    )
    assert len(images.needed()) == 2


def layout(folder: Path, *names: str, platforms: tuple[str, ...] = ("amd64",)) -> Path:
    """Make an OCI layout of empty images."""

    def store(content: object) -> dict:
        text = json.dumps(content).encode()
        digest = sha256(text).hexdigest()
        path = folder / "blobs" / "sha256" / digest
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
        return {"digest": f"sha256:{digest}"}

    listed = []
    for name in names:
        each = []
        for one in platforms:
            config = store({"os": "linux", "architecture": one, "name": name})
            platform = {"os": "linux", "architecture": one}
            each.append(store({"config": config, "layers": []}) | {"platform": platform})
        attestation = each[0] | {"platform": {"os": "unknown", "architecture": "unknown"}}
        whole = each[0] if len(each) == 1 else store({"manifests": [*each, attestation]})
        annotations = {"org.opencontainers.image.ref.name": f"docker.io/library/{name}"}
        listed.append({"digest": whole["digest"], "annotations": annotations})
    (folder / "index.json").write_text(json.dumps({"manifests": listed}))
    return folder


@pytest.mark.parametrize("platforms", [("amd64",), ("amd64", "arm64")])
def test_each_image_is_listed_by_its_digest_and_platforms(tmp_path: Path, platforms):
    there = images.built(layout(tmp_path, *images.needed(), platforms=platforms))
    lines = list(images.pinned(images.needed(), there))

    assert len(lines) == 2
    for line, name in zip(lines, images.needed(), strict=True):
        assert re.fullmatch(rf"{re.escape(name)}@sha256:[a-f0-9]{{64}} \S+", line)
        assert line.endswith(",".join(f"linux/{one}" for one in platforms))


def test_an_image_that_is_missing_is_named(tmp_path: Path):
    with pytest.raises(images.ImageError, match=r"has no amaters-operator:.*only: other:1"):
        list(images.pinned(images.needed(), images.built(layout(tmp_path, "other:1"))))


@pytest.mark.parametrize("content", ["", "[]", '{"manifests": 3}', '{"manifests": [{}]}'])
def test_what_is_no_layout_is_refused_with_the_command_that_makes_one(tmp_path: Path, content):
    (tmp_path / "index.json").write_text(content)
    if content == '{"manifests": [{}]}':
        assert images.built(tmp_path) == {}
        return
    with pytest.raises(images.ImageError, match="skopeo copy"):
        images.built(tmp_path)
