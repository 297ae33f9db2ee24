"""`kubectl amaters support-bundle`: objects, events and logs, without secrets."""

from pathlib import Path

import click

from amaters_kubectl import call as calls
from amaters_kubectl.bundle import archive
from amaters_kubectl.bundle.collecting import collect
from amaters_kubectl.call import Call
from amaters_kubectl.documented import Documented
from amaters_kubectl.waiting import ProgressLine


@click.command(
    "support-bundle",
    cls=Documented,
    short_help="Collect objects, events and logs into one archive.",
    examples=(
        "kubectl amaters support-bundle orders -n shop",
        "kubectl amaters support-bundle orders --file /tmp/orders.tar.gz --tail 20000",
    ),
)
@calls.cluster_argument
@click.option(
    "--file",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Archive to write; default: amaters-NAME-TIME.tar.gz here.",
)
@click.option(
    "--tail",
    type=click.IntRange(min=1, max=1_000_000),
    default=5000,
    show_default=True,
    help="Last lines of each log.",
)
@calls.connection
@calls.formats
@calls.pass_call
def support_bundle(call: Call, name: str | None, *, target: Path | None, tail: int) -> None:
    """Collect objects, events and logs of the cluster and the operator in one archive.

    Reads no Secret, and masks what looks like a password, a token or a key. What this account may
    not read is left out and named in README.txt.
    """
    name = name or call.only()
    now = calls.now()
    folder = f"amaters-{name}-{now:%Y%m%dT%H%M%SZ}"
    line = ProgressLine()
    try:
        bundle = collect(
            call, name, tail=tail, progress=lambda what: line.show(f"reads {what}", call.columns)
        )
    finally:
        line.end()
    target = target or Path(f"{folder}.tar.gz")
    size = archive.write(target, folder, bundle.files, made=now.timestamp())
    for one in bundle.missing:
        call.note(f"left out {one}")
    call.done(
        f"wrote {target}: {len(bundle.files)} files, {size / 1024:.0f} KiB, "
        f"masked: {bundle.redaction.count}. Look through it before you hand it on",
        file=str(target),
        files=sorted(bundle.files),
        masked=bundle.redaction.count,
        missing=bundle.missing,
    )
