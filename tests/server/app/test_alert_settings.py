"""From the `[alerts]` section to what is judged by, and posted to."""

import pytest
from amaters_server.app import from_settings
from amaters_server.config.load import Sources, as_toml, load
from amaters_server.model.errors import ConfigurationError


def settings(tmp_path, text=""):
    path = tmp_path / "c.toml"
    path.write_text(text)
    return load(Sources(path=path)).settings


CLUSTER = '[cluster]\nnode_id = 1\npeers = ["1:a:1", "2:b:1", "3:c:1"]\n'


def test_the_default_silence_is_the_published_second(tmp_path):
    found = from_settings.alert_settings(settings(tmp_path, CLUSTER))

    assert found.thresholds.silence == pytest.approx(1.0)
    assert found.enabled


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (CLUSTER + "election_timeout_ms = 3000", 0.3 + 4.0 + 0.3),
        (CLUSTER + "[alerts]\nnode_failed_after_ms = 2500", 2.5),
    ],
)
def test_the_silence_follows_the_timings_unless_it_is_set(tmp_path, text, seconds):
    found = from_settings.alert_settings(settings(tmp_path, text))

    assert found.thresholds.silence == pytest.approx(seconds)


def test_the_webhook_and_its_token_are_never_shown(tmp_path):
    (tmp_path / "token").write_text("hunter2-token\n")
    made = settings(
        tmp_path,
        f'[alerts]\nwebhook_url = "https://h/hunter2-url"\nwebhook_token_file = "{tmp_path}/token"',
    )

    found = from_settings.webhook_settings(made.alerts)

    assert (found.url, found.host) == ("https://h/hunter2-url", "h")
    assert found.token_file == tmp_path / "token"
    assert "hunter2" not in as_toml(made)
    assert "hunter2" not in repr(made)
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize("text", ['webhook_url = "ftp://h/"', "slow_replication_entries = 0"])
def test_what_makes_no_sense_is_refused_by_name(tmp_path, text):
    with pytest.raises(ConfigurationError, match=text.split(" ", maxsplit=1)[0]):
        settings(tmp_path, f"[alerts]\n{text}")


@pytest.mark.parametrize("key", ["webhook_url_file", "webhook_token_file"])
def test_a_missing_file_of_the_webhook_does_not_keep_a_server_from_its_start(tmp_path, key):
    made = settings(tmp_path, f'[alerts]\n{key} = "/nowhere/file"')

    assert from_settings.webhook_settings(made.alerts).attempts == 5


def test_an_address_is_given_in_one_place(tmp_path):
    text = '[alerts]\nwebhook_url = "http://h/"\nwebhook_url_file = "/f"'

    with pytest.raises(ConfigurationError, match="webhook_url and webhook_url_file exclude"):
        settings(tmp_path, text)


def test_an_address_whose_file_is_yet_to_come_stops_no_start(tmp_path):
    made = settings(tmp_path, f'[alerts]\nwebhook_url_file = "{tmp_path}/none"')

    assert from_settings.webhook_settings(made.alerts).wanted
