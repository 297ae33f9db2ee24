"""How fast images may be sent, as configured."""

import pytest
from amaters_server.app import from_settings
from amaters_server.config.load import Sources, load

CLUSTER = '[cluster]\nnode_id = 1\npeers = ["1:a:1", "2:b:1", "3:c:1"]\n'


@pytest.mark.parametrize(
    ("text", "bytes_per_second"),
    [("", 0), (CLUSTER, 0), (CLUSTER + "snapshot_rate_limit_mb = 5", 5 * 1024 * 1024)],
)
def test_the_image_speed_is_limited_only_when_a_limit_is_set(tmp_path, text, bytes_per_second):
    path = tmp_path / "c.toml"
    path.write_text(text)

    found = from_settings.node_settings(load(Sources(path=path)).settings)

    assert found.snapshot_bytes_per_second == bytes_per_second
