import io
import json
import logging

import pytest
from amaters_server.telemetry.logs import RING_LINES, Logs, LogSettings


@pytest.fixture
def logs():
    """Logs on a stream of the test's own; the root logger is as before afterwards."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    made = Logs(stream=stream)
    made.stream = stream
    yield made
    for handler in root.handlers[:]:
        root.removeHandler(handler)
        handler.close()
    for handler in before:
        root.addHandler(handler)
    root.setLevel(level)


log = logging.getLogger("amaters_server.test")


def test_json_lines_carry_event_fields_level_time_and_node(logs):
    logs.apply(LogSettings(format="json"))
    logs.tell_with(lambda: {"node": 3, "term": 9})

    log.warning("leader.changed", extra={"leader": 2})

    line = json.loads(logs.stream.getvalue())
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "leader.changed",
        "leader": 2,
        "level": "warning",
        "node": 3,
        "term": 9,
    }


@pytest.mark.parametrize("form", ["pretty", "compact", "json"])
def test_every_format_shows_event_fields_and_failures(logs, form):
    logs.apply(LogSettings(format=form))

    try:
        raise ValueError("bang")
    except ValueError:
        log.exception("call.failed", extra={"path": "/x"})

    text = logs.stream.getvalue()
    assert "call.failed" in text
    assert "/x" in text
    assert "ValueError: bang" in text


def test_the_level_changes_while_running(logs):
    logs.apply(LogSettings(level="warn"))
    log.info("quiet")
    logs.apply(LogSettings(level="trace"))
    log.log(5, "loud")

    assert "quiet" not in logs.stream.getvalue()
    assert "loud" in logs.stream.getvalue()


def test_a_file_is_rotated_by_size(logs, tmp_path):
    file = tmp_path / "logs" / "amaters.log"
    logs.apply(LogSettings(format="json", file=file, rotate_bytes=1000, backups=2))

    for number in range(60):
        log.info("event.%d", number)

    names = sorted(path.name for path in file.parent.iterdir())
    assert names == ["amaters.log", "amaters.log.1", "amaters.log.2"]
    assert all(path.stat().st_size <= 1000 for path in file.parent.iterdir())


def test_a_file_that_cannot_be_opened_changes_nothing(logs, tmp_path):
    logs.apply(LogSettings(format="json"))
    (tmp_path / "file").write_text("")

    with pytest.raises(OSError, match="file"):
        logs.apply(LogSettings(level="error", file=tmp_path / "file" / "amaters.log"))
    log.info("still.here")

    assert "still.here" in logs.stream.getvalue()


def test_the_ring_keeps_the_newest(logs):
    logs.apply(LogSettings())
    for number in range(RING_LINES + 10):
        log.info("event.%d", number)

    newest = logs.ring.newest(2)

    assert "event.265" in newest[0].message
    assert "event.264" in newest[1].message
    assert len(logs.ring.newest(1000)) == RING_LINES
