from amaters_server.telemetry.requests import RING_REQUESTS, RequestRing


def messages(ring, *count):
    return [one.message for one in ring.entries(*count)]


def test_the_newest_call_comes_first_in_the_published_words():
    ring = RequestRing(unix_time=lambda: 1_700_000_000.1239)
    ring.add("HealthCheck", None)
    ring.add("ExecuteQuery", 3)
    ring.add("ExecuteBatch", 4, 2)
    ring.add_failed("ExecuteQuery", 5, "no leader")

    assert messages(ring) == [
        "ExecuteQuery elapsed=5ms error=no leader",
        "ExecuteBatch elapsed=4ms queries=2 ok",
        "ExecuteQuery elapsed=3ms ok",
        "HealthCheck ok",
    ]
    assert {one.unix_ms for one in ring.entries()} == {1_700_000_000_123}


def test_calls_that_are_noted_together_are_shown_one_by_one():
    ring = RequestRing()
    ring.add("ExecuteQuery", 1, times=3)
    ring.add("ExecuteQuery", 2)

    assert (
        messages(ring, 3) == ["ExecuteQuery elapsed=2ms ok"] + ["ExecuteQuery elapsed=1ms ok"] * 2
    )
    assert len(ring.entries()) == 4


def test_only_the_last_256_calls_are_kept():
    ring = RequestRing()
    for number in range(RING_REQUESTS + 10):
        ring.add("ExecuteQuery", number, times=2)

    assert len(ring.entries(10_000)) == RING_REQUESTS
    assert messages(ring, 1) == [f"ExecuteQuery elapsed={RING_REQUESTS + 9}ms ok"]
    assert messages(ring, 0) == messages(ring, -5) == []


def test_an_error_is_cut_and_its_secrets_are_masked():
    ring = RequestRing()
    ring.add_failed("ExecuteQuery", 0, "token=abcdef " + "x" * 10_000)

    [only] = messages(ring)
    assert len(only) < 300
    assert "abcdef" not in only
