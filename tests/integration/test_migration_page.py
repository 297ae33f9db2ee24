"""docs/operations/migrate-from-amaters.md, followed to the letter by somebody with a backup."""

import asyncio
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from amaters import AmatersClient
from amaters_server.testing.published import write_backup

pytestmark = pytest.mark.slow

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations" / "migrate-from-amaters.md"
BLOCK = re.compile(r"^```\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAIRS = [(b"k%03d" % n, b"value-%d" % n) for n in range(250)]


def steps() -> tuple[list[str], str]:
    """The commands of the page but the one that AmateRS itself runs, and the configuration."""
    blocks = BLOCK.findall(PAGE.read_text())
    lines = [line for one in blocks for line in one.splitlines()]
    commands = [line for line in lines if line.startswith("amaters")]
    [toml] = [one for one in blocks if one.startswith("[snapshots]")]
    return [one for one in commands if " backup " not in one], toml


async def test_following_the_page_brings_every_key_over(server, tmp_path):
    commands, toml = steps()
    write_backup(tmp_path / "import" / "old", PAIRS)
    node = server()
    node.start()
    await node.ready()
    local = toml.replace('"/import"', f'"{tmp_path / "import"}"')
    node.config.write_text(f"{node.config.read_text()}\n{local}")

    said = []
    for command in commands:
        words = shlex.split(command.replace("/import/", f"{tmp_path / 'import'}/"))
        done = await asyncio.to_thread(amaters_cli, node, *words[1:])
        assert done.returncode == 0, (command, done.stderr)
        said.append(done.stdout)

    reloaded, restored, stats, scanned = said
    assert "snapshots" in reloaded
    assert "Restored 250 keys" in restored
    assert "250" in stats
    assert "k249" in scanned
    async with await AmatersClient.connect(node.client) as db:
        assert [(one.key, one.value) async for one in db.scan("users", b"k")] == PAIRS


def amaters_cli(node, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [
            Path(sys.executable).with_name("amaters-cli"),
            "--server",
            node.client,
            "--admin",
            node.internal,
            *words,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
