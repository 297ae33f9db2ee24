"""What docs/connect-an-application.md shows works as it is written there."""

import asyncio
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from amaters_server.testing.ports import free_ports
from amaters_server.testing.processes import ServerProcess

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "connect-an-application.md").read_text()
COMMAND = re.compile(r"^\$ (curl .*)\n((?:(?!\$ |```).*\n)*)", re.MULTILINE)


def block(language: str, section: str) -> str:
    text = PAGE.partition(f"## {section}\n")[2].partition("\n## ")[0]
    return re.search(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[1]


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    [port] = free_ports(1)
    made = ServerProcess(
        tmp_path_factory.mktemp("connecting") / "node",
        {"gateway": {"enabled": True, "bind_address": f"127.0.0.1:{port}"}},
    )
    made.start()
    asyncio.run(made.ready())
    yield made, f"http://127.0.0.1:{port}"
    made.kill()


def test_the_python_program_prints_what_the_page_says(node):
    ran = subprocess.run(
        [sys.executable, "-c", block("python", "Python")],
        env={**os.environ, "AMATERS": node[0].client},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == block("text", "Python")


def test_the_curl_commands_answer_what_the_page_says(node):
    commands = COMMAND.findall(block("console", "curl"))

    assert len(commands) == 3
    for command, shown in commands:
        words = shlex.split(command.replace("$GATEWAY", node[1]))
        ran = subprocess.run([*words, "-sS"], capture_output=True, timeout=20, check=True)
        assert ran.stdout.decode().strip() == shown.strip(), command


def test_every_path_of_the_other_languages_is_one_of_the_wire():
    generated = block("", "Go")
    protos = set(re.findall(r"client/(amaters/wire/\w+\.proto)", generated))

    assert len(protos) == 4
    for proto in protos:
        assert (Path(__file__).resolve().parents[2] / "client" / proto).is_file()
        assert f"--go_opt=$M/{Path(proto).name}=" in generated
    assert "/api/v1/collections/orders/" in block("typescript", "TypeScript")
