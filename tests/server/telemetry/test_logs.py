import io
import json
import logging

import pytest
from amaters_server.telemetry.logs import RING_LINES, Logs, LogSettings
from pydantic import SecretStr


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


def test_the_ring_keeps_the_newest_records_with_their_fields(logs):
    logs.apply(LogSettings())
    logs.tell_with(lambda: {"node": 3})
    for number in range(RING_LINES + 10):
        log.warning("event.%d", number, extra={"leader": 2, "why": "it is"})

    older, newest = logs.ring.records.recent(2)

    assert (older.item.event, newest.item.event) == ("event.1032", "event.1033")
    assert (newest.item.level, newest.item.severity) == ("warning", logging.WARNING)
    assert newest.item.fields == {"leader": "2", "why": "it is", "node": "3"}
    assert newest.sequence == RING_LINES + 10
    assert len(logs.ring.records.recent()) == RING_LINES


SECRETS = {
    "password": "hunter2-secret",
    "webhook_token": "hunter2-secret",
    "Authorization": "hunter2-secret",
    "header": "Bearer hunter2-secret",
    "url": "https://me:hunter2-secret@host/path",
    "query": "https://host/?X-Amz-Signature=hunter2-secret&list-type=2",
    "pem": "-----BEGIN EC PRIVATE KEY-----\nhunter2-secret\n-----END EC PRIVATE KEY-----",
    "nested": {"deep": [{"api_key": "hunter2-secret"}]},
    "wrapped": SecretStr("hunter2-secret"),
    "failure": ValueError("cannot reach postgres://me:hunter2-secret@host"),
}


@pytest.mark.parametrize("form", ["pretty", "compact", "json"])
@pytest.mark.parametrize("field", SECRETS)
def test_no_format_and_no_ring_ever_says_a_secret(logs, form, field):
    logs.apply(LogSettings(format=form))

    log.error("call.failed", extra={field: SECRETS[field], "harmless": "tokens are counted"})

    kept = logs.ring.records.recent(1)[0].item
    assert "hunter2" not in logs.stream.getvalue()
    assert "hunter2" not in str(kept)
    assert "tokens are counted" in logs.stream.getvalue()
    assert kept.fields["harmless"] == "tokens are counted"


@pytest.mark.parametrize("form", ["pretty", "compact", "json"])
def test_tracebacks_show_no_variables_and_no_secrets(logs, form):
    logs.apply(LogSettings(format=form))
    given = "hunter2-" + "secret"

    try:
        raise ConnectionError(f"401 for Bearer {given}")
    except ConnectionError:
        log.exception("webhook.failed")

    assert "401 for Bearer ***" in logs.stream.getvalue()
    assert "hunter2-secret" not in logs.stream.getvalue()
    assert "hunter2-secret" not in str(logs.ring.records.recent(1))


def test_numbers_are_no_secrets(logs):
    logs.apply(LogSettings(format="json"))

    log.info("limits", extra={"tokens": 3, "secret": None})

    line = json.loads(logs.stream.getvalue())
    assert (line["tokens"], line["secret"]) == (3, None)
