"""What the configuration says of the internal port."""

import pytest
from amaters_server.config.cluster import ClusterSection, inside_exposure, verifies_inside
from amaters_server.config.load import Sources, load
from amaters_server.config.sections import NetworkSection
from amaters_server.model.errors import ConfigurationError

TLS = "[network]\ntls_enabled = true\ntls_cert = 'c'\ntls_key = 'k'\n"
CLUSTER = "[cluster]\nenabled = false\nadmin_principals = ['operator']\n"


def loaded(folder, text):
    path = folder / "config.toml"
    path.write_text(text)
    return load(Sources(path=path, environment={})).settings


@pytest.mark.parametrize("text", [CLUSTER, TLS + CLUSTER])
def test_administrators_that_nothing_tells_apart_are_refused(tmp_path, text):
    with pytest.raises(ConfigurationError, match=r"admin_principals has no effect while nobody"):
        loaded(tmp_path, text)


@pytest.mark.parametrize("text", [f"{TLS}tls_ca = 'a'\n{CLUSTER}", f"{TLS}{CLUSTER}tls_ca = 'a'"])
def test_administrators_are_named_where_certificates_are_shown(tmp_path, text):
    settings = loaded(tmp_path, text)

    assert settings.cluster.admin_principals == ("operator",)
    assert verifies_inside(settings.network, settings.cluster)
    assert inside_exposure(settings.network, settings.cluster, "10.0.0.1:7879") is None


@pytest.mark.parametrize(
    ("address", "who"),
    [
        ("127.0.0.1:7879", "any process of this host can administer"),
        ("0.0.0.0:7879", "anyone who reaches it can administer"),
        ("[::1]:7879", "any process of this host can administer"),
    ],
)
@pytest.mark.parametrize("cluster", [None, ClusterSection(enabled=False)])
def test_what_strangers_can_do_there_is_told(address, who, cluster):
    told = inside_exposure(NetworkSection(), cluster, address)

    assert told.startswith(who)
    assert address in told
