"""What looks like a protection and is none is refused: nobody finds the door open later."""

import pytest
from amaters_server.config import aliases
from amaters_server.config.keys import section_of
from amaters_server.config.load import Loaded, Sources, as_toml, load
from amaters_server.config.security.authentication import AuthSection
from amaters_server.config.security.authorization import AuditSection, AuthzSection
from amaters_server.config.security.protection import exposure
from amaters_server.config.settings import Settings
from amaters_server.model.errors import ConfigurationError

TLS = "[network]\ntls_enabled = true\ntls_cert = 'c'\ntls_key = 'k'\n"


def loaded(tmp_path, text: str, **environment: str) -> Loaded:
    path = tmp_path / "c.toml"
    path.write_text(text)
    return load(Sources(path=path, environment=environment))


def refusal(tmp_path, text: str, **environment: str) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        loaded(tmp_path, text, **environment)
    return str(raised.value).splitlines()


def keys(section, prefix):
    for name, field in section.model_fields.items():
        inner = section_of(field.annotation)
        if inner is None:
            yield f"{prefix}.{name}", field
        else:
            yield from keys(inner, f"{prefix}.{name}")


EVERY_KEY = dict(
    [*keys(AuthSection, "auth"), *keys(AuthzSection, "authz"), *keys(AuditSection, "audit")]
)
"""Of the three tables, every key; see docs/configuration.md."""


def set_to_something(key: str) -> str:
    table, _, name = key.rpartition(".")
    kind = str(EVERY_KEY[key].annotation)
    value = next(
        text
        for mark, text in (
            ("Mapping", '{"a" = ["user"]}'),
            ("tuple[typing.Literal['HS256'", '["HS256"]'),
            ("HS256", '"HS256"'),
            ("'organization'", '"organization"'),
            ("tuple", '["mtls"]'),
            ("bool", "true"),
            ("deny-by-default", '"deny-by-default"'),
            ("'changes'", '"all"'),
            ("'block'", '"block"'),
            ("int", "3600"),
            ("", '"something"'),
        )
        if mark in kind
    )
    if name == "jwks_url":
        value = '"https://something"'
    return f"[{table}]\n{name} = {value}\n"


@pytest.mark.parametrize("key", [key for key in EVERY_KEY if key != "auth.enabled"])
def test_a_key_of_authentication_is_refused_while_that_is_off(tmp_path, key):
    [line] = refusal(tmp_path, set_to_something(key))

    assert line == (
        f"{key}: it has no effect while auth.enabled is false, and every caller would be "
        "accepted: set auth.enabled to true, or remove it"
    )


def test_each_key_is_a_line(tmp_path):
    lines = refusal(tmp_path, '[auth]\nmethods = ["jwt"]\n[auth.jwt]\nenabled = true\nsecret = "s"')

    assert [line.partition(": ")[0] for line in lines] == [
        "auth.methods",
        "auth.jwt.enabled",
        "auth.jwt.secret",
    ]


IN_FORCE = '[auth]\nenabled = true\nmethods = ["jwt"]\n[auth.jwt]\nenabled = true\nsecret = "s"\n'


def test_authentication_with_a_method_is_taken(tmp_path):
    assert loaded(tmp_path, TLS + IN_FORCE).notices == ()


def test_tokens_that_cross_the_network_in_the_clear_are_told(tmp_path):
    [notice] = loaded(tmp_path, IN_FORCE).notices

    assert notice.startswith("auth: tokens and keys cross the network in the clear")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "[auth]\nenabled = true",
            "auth.methods: Authentication enabled but no valid auth methods",
        ),
        (IN_FORCE + "[auth.api_key]\nenabled = true", "auth.api_key.enabled: it is not accepted"),
        (IN_FORCE + '[authz]\npolicies_file = "p"', "authz.policies_file: policies have no effect"),
        (IN_FORCE + '[audit]\non_failure = "block"', "audit.on_failure: block needs a file"),
        (
            IN_FORCE + '[authz]\naudit_enabled = false\n[audit]\nrecord = "all"',
            "audit.record: it has no effect while authz.audit_enabled is false",
        ),
    ],
)
def test_what_contradicts_authentication_is_refused(tmp_path, text, line):
    [found] = refusal(tmp_path, text)

    assert found.startswith(line)


@pytest.mark.parametrize(
    "text",
    [
        "[auth]\nenabled = false",
        "[auth.jwt]\nenabled = false",
        "[authz]\nenabled = false",
        "[auth]\n[auth.api_key]\n[authz]",
    ],
)
def test_what_asks_for_nothing_is_taken(tmp_path, text):
    assert loaded(tmp_path, text).notices == ()


def test_a_file_with_all_defaults_written_out_is_taken(tmp_path):
    """As `start --generate-config` writes it: it says `auth.enabled = false`."""
    assert loaded(tmp_path, as_toml(Settings())).notices == ()


def test_a_protection_is_refused_also_beside_a_no(tmp_path):
    [line] = refusal(tmp_path, "[auth]\nenabled = false\n[auth.api_key]\nenabled = true")

    assert line.startswith("auth.api_key.enabled: ")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[network]\ntls_enabled = false\ntls_key = "k"', "network.tls_key"),
        ('[network]\ntls_ca = "a"', "network.tls_ca"),
        ("[network]\nrequire_client_cert = true", "network.require_client_cert"),
        ('[network]\ntls_enabled = false\ntls_cert = "c"', "network.tls_cert"),
        ('[net.tls]\nenabled = false\ncert_path = "c"', "network.tls_cert"),
        ('[cluster]\nenabled = false\ntls_cert = "c"', "cluster.tls_cert"),
        ('[cluster]\nnode_id = 1\npeers = ["1:a:1"]\ntls_ca = "c"', "cluster.tls_ca"),
    ],
)
def test_certificates_while_tls_is_off_are_refused(tmp_path, text, key):
    [line] = refusal(tmp_path, text)

    assert "no effect while TLS is off" in line
    assert "set network.tls_enabled to true, or remove it" in line
    assert line.startswith(f"{key}: ")


@pytest.mark.parametrize(
    "text",
    [
        '[network]\ntls_cert = "c"\ntls_key = "k"',
        '[net.tls]\ncert_path = "c"\nkey_path = "k"',
        'network = {tls_enabled = true, tls_cert = "c", tls_key = "k"}',
    ],
)
def test_a_certificate_with_its_key_means_tls(tmp_path, text):
    """As in the published example, which does not name `tls_enabled`."""
    found = loaded(tmp_path, text)

    assert found.settings.network.tls_enabled
    assert found.notices == () or "older name" in found.notices[0]


@pytest.mark.parametrize(("given", "missing"), [("tls_cert", "tls_key"), ("tls_key", "tls_cert")])
def test_half_a_pair_names_the_other_half(tmp_path, given, missing):
    assert refusal(tmp_path, f'[network]\n{given} = "f"') == [
        f"network.{missing}: network.{given} is set without it: set it"
    ]


def test_certificates_are_refused_when_the_environment_switches_tls_off(tmp_path):
    text = '[network]\ntls_enabled = true\ntls_cert = "c"\ntls_key = "k"'

    assert len(refusal(tmp_path, text, AMATERS_TLS_ENABLED="false")) == 2


def test_half_a_pair_of_the_internal_port_is_refused(tmp_path):
    text = (
        '[network]\ntls_enabled = true\ntls_cert = "c"\ntls_key = "k"\n[cluster]\nenabled = false\n'
    )

    [line] = refusal(tmp_path, f'{text}tls_cert = "c"')

    assert "belong together" in line
    assert line.startswith("cluster.tls_key: ")


@pytest.mark.parametrize("key", aliases.PROMISES)
def test_an_older_key_that_promises_a_protection_is_refused(tmp_path, key):
    *tables, name = key.split(".")
    head = f"[{'.'.join(tables)}]\n" if tables else ""

    [line] = refusal(tmp_path, f"{head}{name} = 5")

    assert "remove it, and " in line
    assert line.startswith(f"{key}: ")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[auth]\njwt_secret = "change-me"', "auth.jwt.secret"),
        ('[auth]\njwt_algorithm = "RS256"', "auth.jwt.algorithm"),
        ('[auth]\napi_key_header = "X"', "auth.api_key.header_name"),
    ],
)
def test_an_older_name_of_such_a_key_is_refused_too(tmp_path, text, key):
    [line] = refusal(tmp_path, text)

    assert line.startswith(f"{key}: ")
    assert "change-me" not in line


def test_an_adaptive_rate_needs_a_rate(tmp_path):
    [line] = refusal(tmp_path, "[resource_limits]\nadaptive_rate = true")

    assert line.startswith("resource_limits.adaptive_rate: ")
    assert "max_requests_per_second_global" in line


def test_a_memory_limit_that_the_caches_alone_exceed_is_refused(tmp_path):
    [line] = refusal(tmp_path, "[resource_limits]\nmax_memory_bytes = 5")

    assert line.startswith("resource_limits.max_memory_bytes: ")
    assert "storage.block_cache_size_mb" in line


def test_the_older_name_of_the_rate_takes_effect(tmp_path):
    settings = loaded(tmp_path, "[net.rate_limit]\nqps = 5").settings

    assert settings.resource_limits.max_requests_per_second_global == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "",
            "anyone who reaches 0.0.0.0:7878 can read and write all data, and nothing is encrypted",
        ),
        (TLS, "anyone who reaches 0.0.0.0:7878 can read and write all data: set auth.enabled"),
    ],
)
def test_what_strangers_can_do_is_told(tmp_path, text, said):
    settings = loaded(tmp_path, text).settings

    assert (exposure(settings.server, settings.network, settings.auth) or "").startswith(said)


def test_nothing_is_told_about_strangers_where_certificates_are_demanded(tmp_path):
    settings = loaded(tmp_path, f"{TLS}tls_ca = 'a'\nrequire_client_cert = true").settings

    assert exposure(settings.server, settings.network, settings.auth) is None


@pytest.mark.parametrize(("said", "noticed"), [("", 1), ("require_client_cert = false", 0)])
def test_authorities_without_a_demand_for_certificates_are_told(tmp_path, said, noticed):
    notices = loaded(tmp_path, f"{TLS}tls_ca = 'a'\n{said}").notices

    assert (
        len([one for one in notices if "clients without a certificate are served" in one])
        == noticed
    )
