"""The image of the container that holds a pod's namespaces: one static program, nothing else."""

from __future__ import annotations

from testbed.node_files import PAUSE_IMAGE
from testbed.oci_layout import OciLayout, program_layer
from testbed.places import TOOLS, Places
from testbed.shell import run

SOURCE = TOOLS / "pause.c"


def ensure(where: Places) -> None:
    """Compile the program, and keep its image, when its source is newer."""
    program = where.cache / "pause"
    layout = OciLayout(where.images)
    compiled = program.exists() and program.stat().st_mtime > SOURCE.stat().st_mtime
    if compiled and PAUSE_IMAGE in layout.references():
        return
    where.images.mkdir(parents=True, exist_ok=True)
    run("cc", "-static", "-Os", "-s", "-o", program, SOURCE)
    layer = program_layer("pause", program.read_bytes())
    layout.add(PAUSE_IMAGE, layer=layer, config={"Entrypoint": ["/pause"], "User": "65535:65535"})
