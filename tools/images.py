"""The images that a cluster needs, with their digests: what an air gap has to let through.

    python -m tools.images                       # the names that the charts use
    python -m tools.images --layout images/      # with digests and platforms, from an OCI layout

An OCI layout is what `docker buildx build --output type=oci,tar=false` and `skopeo copy ... oci:` make.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import yaml

ROOT = Path(__file__).resolve().parents[1]
LIST = ROOT / "charts" / "images.txt"
CHARTS = ("amaters-operator", "amaters-cluster")
_NAME = "org.opencontainers.image.ref.name"
_PREFIXES = ("docker.io/library/", "docker.io/")


class ImageError(Exception):
    """The layout does not hold what the charts need; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Built:
    """An image in a layout."""

    digest: str
    platforms: tuple[str, ...]


def needed(root: Path = ROOT) -> list[str]:
    """Return the images that the charts use as they are, as NAME:TAG."""
    found = []
    for chart in CHARTS:
        folder = root / "charts" / chart
        facts = yaml.safe_load((folder / "Chart.yaml").read_text())
        image = yaml.safe_load((folder / "values.yaml").read_text())["image"]
        found.append(f"{image['repository']}:{image['tag'] or facts['appVersion']}")
    return found


def as_text(images: list[str]) -> str:
    """Return the list as the file holds it."""
    return "".join(f"{image}\n" for image in images)


def built(layout: Path) -> dict[str, Built]:
    """Return the images of an OCI layout by their short names; ImageError when it is none."""
    try:
        listed = json.loads((layout / "index.json").read_text())["manifests"]
        return {
            _short(one["annotations"][_NAME]): Built(one["digest"], tuple(_platforms(layout, one)))
            for one in listed
            if _NAME in one.get("annotations", {})
        }
    except (OSError, ValueError, KeyError, TypeError) as wrong:
        raise ImageError(
            f"{layout} is no OCI layout with named images ({wrong!r}): make one with skopeo copy "
            "docker://NAME:TAG oci:FOLDER:NAME:TAG"
        ) from wrong


def pinned(images: list[str], there: dict[str, Built]) -> Iterator[str]:
    """Return each image by its digest, and its platforms; ImageError when one is missing."""
    for image in images:
        if image not in there:
            known = ", ".join(sorted(there)) or "none"
            raise ImageError(f"the layout has no {image}, only: {known}. Copy it there first")
        one = there[image]
        yield f"{image}@{one.digest} {','.join(one.platforms)}"


def _platforms(layout: Path, descriptor: dict[str, Any]) -> Iterator[str]:
    """Return the platforms of an image, also of one for several."""
    content = _blob(layout, descriptor)
    if "manifests" in content:
        for one in content["manifests"]:
            platform = one.get("platform", {})
            if platform.get("os") != "unknown":  # An attestation is no image.
                yield _platform(platform)
        return
    yield _platform(_blob(layout, content["config"]))


def _platform(facts: dict[str, Any]) -> str:
    return f"{facts.get('os', 'linux')}/{facts.get('architecture', 'unknown')}"


def _blob(layout: Path, descriptor: dict[str, Any]) -> dict[str, Any]:
    algorithm, _, digest = descriptor["digest"].partition(":")
    content: dict[str, Any] = json.loads((layout / "blobs" / algorithm / digest).read_text())
    return content


def _short(name: str) -> str:
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


@click.command(help="List the images of the charts, with digests from an OCI layout.")
@click.option("--layout", type=click.Path(path_type=Path), help="Folder of an OCI layout.")
@click.option("--write", is_flag=True, help="Write the names to charts/images.txt.")
def main(layout: Path | None, *, write: bool) -> None:
    """List the images."""
    images = needed()
    if write:
        LIST.write_text(as_text(images))
    try:
        lines = images if layout is None else list(pinned(images, built(layout)))
    except ImageError as wrong:
        click.echo(f"images: {wrong}", err=True)
        sys.exit(1)
    click.echo("\n".join(lines))


if __name__ == "__main__":
    main()
