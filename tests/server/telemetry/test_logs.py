import contextvars
import io
import json
import logging
import threading
import time
from pathlib import Path

import pytest
from amaters_server.telemetry import correlation
from amaters_server.telemetry.log_file import Rotation
from amaters_server.telemetry.log_queue import QUEUED_RECORDS
from amaters_server.telemetry.logs import RING_LINES, Logs, LogSettings
from amaters_server.telemetry.redaction import masked
from amaters_server.telemetry.request_log import REQUESTS
from amaters_server.telemetry.throttle import BURST, EventThrottle
from pydantic import SecretStr


class Written(io.StringIO):
    """A terminal whose text is asked for once the writer has caught up."""

    def getvalue(self):
        self.logs.flush()
        return super().getvalue()


@pytest.fixture
def logs():
    """Logs on a stream of the test's own; the root logger is as before afterwards."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = Written()
    made = stream.logs = Logs(stream=stream, throttle=EventThrottle(burst=10**6))
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
    logs.add_facts(lambda: {"node": 3, "term": 9})

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
    logs.apply(LogSettings(format="json", file=file, rotation=Rotation(1000, backups=2)))

    for number in range(60):
        log.info("event.%d", number)

    logs.flush()
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
    logs.add_facts(lambda: {"node": 3})
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
    "user_alone": "https://hunter2-secret@host/path",
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


class BlockedStream(io.StringIO):
    """A terminal that takes nothing until it is let go."""

    def __init__(self):
        super().__init__()
        self.free = threading.Event()

    def write(self, text):
        self.free.wait()
        return super().write(text)


@pytest.fixture
def set_up(logs):
    """Make other logs in place of the fixture's; they are taken down with it."""
    return Logs


def test_an_event_with_changing_texts_writes_a_burst_and_then_reports_a_count(set_up):
    stream = Written()
    logs = stream.logs = set_up(stream=stream)
    logs.apply(LogSettings(format="json"))

    for number in range(10_000):
        log.warning("raft.message_refused", extra={"reason": f"term {number}"})
    log.warning("other.event")

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    refused = [line for line in lines if line["event"] == "raft.message_refused"]
    assert BURST <= len(refused) <= BURST + 2
    assert lines[-1]["event"] == "other.event"


def test_a_library_with_changing_texts_writes_a_burst(set_up):
    stream = Written()
    logs = stream.logs = set_up(stream=stream)
    logs.apply(LogSettings(format="json"))

    for number in range(10_000):
        text = f"Task exception was never retrieved: task {number}"
        logging.getLogger("asyncio").error(text)
    log.warning("other.event")

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert BURST < len(lines) <= BURST + 4


LONG = 200_000


@pytest.mark.parametrize(
    "value",
    [
        "a" * LONG,
        "token" * (LONG // 5),
        "a://" * (LONG // 4),
        "x://" + "a" * LONG,
        "Bearer" + " " * LONG,
        "-----BEGIN " + "PRIVATE KEY" * (LONG // 11),
        "y" * 5_000_000,
        ["z" * 100] * 1_000_000,
        {str(n): n for n in range(100_000)},
    ],
    ids=lambda value: str(value)[:12],
)
def test_no_value_is_too_long_for_a_line_or_takes_long(value):
    begun = time.process_time()
    kept = masked(value)

    assert time.process_time() - begun < 0.5
    assert len(json.dumps(kept)) < 64 * 1024


def test_a_long_text_keeps_its_beginning_and_its_end_but_no_half_secret():
    kept = masked("begin " + "x" * 20_000 + " end")
    assert isinstance(kept, str)
    assert kept.startswith("begin x")
    assert kept.endswith("x end")
    assert "of 20010 characters" in kept

    secret = "x" * (256 * 1024 - 15) + " a://user:SECRET@host"
    assert "SECRET" not in str(masked(secret))
    assert masked("see https://user:SECRET@host/x") == "see https://***@host/x"


def test_debug_lines_are_never_suppressed(set_up):
    stream = Written()
    logs = stream.logs = set_up(stream=stream)
    logs.apply(LogSettings(level="debug"))

    for _ in range(100):
        log.debug("step")

    assert stream.getvalue().count("step") == 100


@pytest.mark.slow
def test_an_output_that_stalls_holds_nobody_up_and_what_it_lost_is_reported(set_up):
    stream = BlockedStream()
    logs = set_up(stream=stream, throttle=EventThrottle(burst=10**6))
    logs.apply(LogSettings(format="json"))

    for number in range(QUEUED_RECORDS + 1000):
        log.warning("flood", extra={"number": number})
    kept_meanwhile = logs.ring.records.recent(1)[0].item.fields["number"]
    stream.free.set()
    logs.flush()
    logs.flush()

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    dropped = [line for line in lines if line["event"] == "log.dropped"]
    assert kept_meanwhile == str(QUEUED_RECORDS + 999)
    assert sum(line["records"] for line in dropped) + len(lines) - len(dropped) == (
        QUEUED_RECORDS + 1000
    )


def test_a_full_log_disk_is_one_event_and_not_a_traceback_for_each_line(set_up):
    stream = Written()
    logs = stream.logs = set_up(stream=stream)
    logs.apply(LogSettings(format="json", file=Path("/dev/full")))

    for number in range(200):
        log.info("event", extra={"number": number})
        logs.flush()

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    failed = [line for line in lines if line["event"] == "log.write_failed"]
    assert 1 <= len(failed) <= BURST + 2
    assert failed[0]["file"] == "/dev/full"
    assert "No space left" in failed[0]["reason"]


def test_lines_about_requests_are_neither_throttled_nor_in_the_ring_of_the_log(logs):
    logs._queue._throttle = EventThrottle(burst=1, lines_per_second=0)
    logs.apply(LogSettings(format="json"))
    for number in range(5):
        REQUESTS.info("request", extra={"number": number})
    log.info("other")
    log.info("other")

    events = [json.loads(one)["event"] for one in logs.stream.getvalue().splitlines()]
    assert events == ["request"] * 5 + ["other"]
    assert [one.item.event for one in logs.ring.records.recent()] == ["other"]


def test_a_line_names_the_request_during_which_it_is_logged(logs):
    logs.apply(LogSettings(format="json"))

    def answer():
        correlation.begin("r-7", 1)
        log.info("inside")

    contextvars.copy_context().run(answer)
    log.info("outside")

    inside, outside = map(json.loads, logs.stream.getvalue().splitlines())
    assert inside["request_id"] == "r-7"
    assert "request_id" not in outside
