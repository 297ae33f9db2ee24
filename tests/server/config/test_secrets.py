"""What nobody may be shown is shown nowhere: not when it is wrong, and not with everything else."""

import pytest
from amaters_server.config.load import Sources, as_toml, load
from amaters_server.model.errors import ConfigurationError

SECRET = "hunter2"


@pytest.mark.parametrize(
    "text",
    [
        f'[auth]\njwt = "{SECRET}"',
        f'auth = "{SECRET}"',
        f'alerts = "{SECRET}"',
        f'cluster = "{SECRET}"',
        f'[auth.jwt]\nsecret = ["{SECRET}"]',
        f'[auth.jwt]\nalgorithm = "{SECRET}"',
        f'[auth.jwt]\nenabled = "{SECRET}"',
        f'[auth]\nmethods = ["{SECRET}"]',
        f'[auth]\njwt_algorithm = "{SECRET}"',
        f'[alerts]\nwebhook_attempts = "{SECRET}"',
        f'[alerts]\nwebhook_url = "ftp://me:{SECRET}@host"',
        f'[cluster]\ntoken = ["{SECRET}"]',
        f'[cluster]\nnode_id = "{SECRET}"',
        f'[cluster]\npeers = ["1:me:{SECRET}@host:1"]',
        f'[cluster]\nadvertise_address = "http://{SECRET}@host:1"',
        f'snapshots = "https://me:{SECRET}@host"',
        f'[snapshots]\ns3 = "https://me:{SECRET}@host"',
        f'[snapshots]\ndestination = "https://me:{SECRET}@host"',
        f'[snapshots]\ndestination = "s3://me:{SECRET}@bucket"',
        f'[snapshots]\ndestination = "s3://me:{SECRET}/x@bucket/prefix"',
        f'[snapshots.s3]\nendpoint_url = "ftp://me:{SECRET}@host"',
        f'[snapshots.s3]\nendpoint_url = ["https://{SECRET}@host"]',
        f'[server]\nbind_address = "http://me:{SECRET}@host:1"',
        f'[server]\nbind_address = "me:{SECRET}@{"x" * 1000}"',
        f'[storage]\nengine = "https://me:{SECRET}@host"',
    ],
)
def test_a_secret_in_the_wrong_place_is_not_echoed(tmp_path, text):
    path = tmp_path / "c.toml"
    path.write_text(text)

    with pytest.raises(ConfigurationError) as raised:
        load(Sources(path=path))

    assert SECRET not in str(raised.value)


def test_what_is_shown_of_valid_settings_holds_no_secret(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(
        f'[cluster]\nnode_id = 1\npeers = ["1:a:1"]\ntoken = "{SECRET}-token"\n'
        f'[alerts]\nwebhook_url = "https://me:{SECRET}@host/{SECRET}"\n'
        f'[snapshots.s3]\nendpoint_url = "https://me:{SECRET}/@host:9000/path"'
    )

    found = load(Sources(path=path))

    assert SECRET not in as_toml(found.settings)
    assert SECRET not in repr(found)
    assert found.settings.cluster.token.get_secret_value() == f"{SECRET}-token"


def test_credentials_in_the_address_of_a_store_are_dropped_and_that_is_told(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(f'[snapshots.s3]\nendpoint_url = "https://me:{SECRET}@host:9000/path"')

    found = load(Sources(path=path))

    assert found.settings.snapshots.s3.endpoint_url == "https://host:9000/path"
    [notice] = found.notices
    assert "snapshots.s3.endpoint_url have no effect" in notice
    assert "AWS_SECRET_ACCESS_KEY" in notice
