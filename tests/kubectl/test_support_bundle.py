"""The support bundle: what is in it, and above all what is not."""

import json
import stat
import tarfile
import time
from pathlib import Path

import pytest
from amaters_kubectl.bundle.redaction import MASK, Redaction
from hypothesis import given
from hypothesis import strategies as st

PLANTED = {
    "variable": "hunter2-of-the-pod",
    "toml": "toml-s3cret-value",
    "last_applied": "copied-by-apply-99",
    "jwt": "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhcHAifQ.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg",
    "aws": "AKIAIOSFODNN7EXAMPLE",
    "aws_secret": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "bearer": "opaque.token.of.someone",
    "url": "user:p4ss",
    "json_log": "logged-password-1",
    "query": "presigned0123",
    "random": "q8Zt4LxYw2Rk7Vn1Bc5Hd9Jf3Gs6Ma0P",
    "pem": "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC",
    "hmac": "hm4c-shared-value",
}
"""A secret of each kind, in the place where people leave it."""


def world(make) -> dict:
    cluster = make.orders()
    cluster["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = (
        json.dumps({"spec": {"x": PLANTED["last_applied"]}})
    )
    cluster["spec"]["podAnnotations"] = {"example.com/password": PLANTED["json_log"]}
    pod = make.pod(0)
    pod["spec"]["containers"][0]["env"] = [
        {"name": "DB_PASSWORD", "value": PLANTED["variable"]},
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "ENDPOINT", "value": f"https://{PLANTED['url']}@s3.example.com/x"},
    ]
    pod["status"]["containerStatuses"][0]["restartCount"] = 2
    config = {
        "metadata": {"name": "orders-config", "namespace": "shop", "labels": make.labels},
        "data": {
            "config.toml": f'[cluster]\ntoken = "{PLANTED["toml"]}"\nhmac_secret = \'{PLANTED["hmac"]}\'\nbind = "0.0.0.0:7879"\n'
        },
    }
    operator = {
        "metadata": {
            "name": "op-1",
            "namespace": "amaters",
            "labels": {"app.kubernetes.io/name": "amaters-operator"},
        },
        "spec": {"containers": [{"name": "operator"}]},
    }
    logs = {
        "orders-0": [
            f"2026-11-28T10:00:00Z authorization: Bearer {PLANTED['bearer']}",
            f'2026-11-28T10:00:01Z {{"event":"x","password":"{PLANTED["json_log"]}","keys":3}}',
            f"2026-11-28T10:00:02Z GET https://s3/b?X-Amz-Signature={PLANTED['query']}&x=1",
            f"2026-11-28T10:00:03Z id {PLANTED['aws']} key {PLANTED['aws_secret']} is wrong",
            f"2026-11-28T10:00:04Z said {PLANTED['random']} to us",
            "2026-11-28T10:00:05Z raft.leader term=7 uid=0b9e61c2-5d0c-4a53-9f77-2f4f4f3b1f11",
        ],
        "orders-0.previous": [
            f"2026-11-28T09:00:00Z -----BEGIN PRIVATE KEY-----\\n{PLANTED['pem']}\\n-----END PRIVATE KEY-----",
            f"2026-11-28T09:00:01Z token {PLANTED['jwt']}",
        ],
        "op-1": ['2026-11-28T10:00:00Z {"event":"operator.started"}'],
    }
    secret = {
        "metadata": {"name": "orders-tls", "namespace": "shop", "labels": make.labels},
        "data": {"tls.key": "c2VjcmV0"},
    }
    objects = {
        "pods": [pod, operator],
        "configmaps": [config],
        "secrets": [secret],
        "deployments": [{"metadata": operator["metadata"]}],
        "nodes": [
            {
                "metadata": {"name": "node-a"},
                "spec": {},
                "status": {"nodeInfo": {"kubeletVersion": "v1.34.0"}, "addresses": ["10.9.8.7"]},
            },
            {"metadata": {"name": "node-of-others"}, "spec": {}, "status": {}},
        ],
    }
    return {"cluster": cluster, "objects": objects, "logs": logs}


def unpacked(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        return {
            one.name.partition("/")[2]: archive.extractfile(one).read().decode()
            for one in archive.getmembers()
        }


@pytest.fixture
def bundle(kube, make, tmp_path):
    made = world(make)
    kube.set(made["cluster"], objects=made["objects"], logs=made["logs"])
    target = tmp_path / "bundle.tar.gz"
    answer = kube.run("support-bundle", "orders", "--file", str(target), "-o", "json")
    assert answer.exit_code == 0, answer.output
    return target, json.loads(answer.stdout)


@pytest.mark.slow
def test_no_planted_secret_is_in_the_bundle(bundle):
    whole = "\n".join(unpacked(bundle[0]).values())

    assert {name for name, value in PLANTED.items() if value in whole} == set()
    assert "c2VjcmV0" not in whole
    assert bundle[1]["masked"] >= len(PLANTED) - 2


@pytest.mark.slow
def test_secrets_are_not_even_read(bundle, kube):
    assert [one for one in kube.calls if "secret" in " ".join(one).lower()] == []


@pytest.mark.slow
def test_what_helps_is_in_the_bundle(bundle):
    files = unpacked(bundle[0])

    assert {"README.txt", "cluster.json", "status.txt", "history.txt", "objects/pods.json"} <= set(
        files
    )
    assert {"logs/orders-0.amaters.log", "logs/orders-0.amaters.previous.log"} <= set(files)
    assert "operator/logs/amaters.op-1.operator.log" in files
    assert (
        "raft.leader term=7 uid=0b9e61c2-5d0c-4a53-9f77-2f4f4f3b1f11"
        in files["logs/orders-0.amaters.log"]
    )
    assert 'bind = \\"0.0.0.0:7879\\"' in files["objects/configmaps.json"]
    assert json.loads(files["cluster.json"])["status"]["leader"] == "orders-1"
    assert "node-a" in files["objects/nodes.json"]
    assert "node-of-others" not in files["objects/nodes.json"]
    assert "10.9.8.7" not in files["objects/nodes.json"]


@pytest.mark.slow
def test_the_archive_is_for_its_owner_and_replaces_nothing(bundle, kube):
    target = bundle[0]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600

    before = target.read_bytes()
    answer = kube.run("support-bundle", "orders", "--file", str(target))

    assert answer.exit_code == 1
    assert "name another with --file" in answer.stderr
    assert target.read_bytes() == before


@pytest.mark.slow
def test_what_may_not_be_read_is_named_and_stops_nothing(kube, make, tmp_path):
    made = world(make)
    kube.set(
        made["cluster"],
        objects=made["objects"],
        logs=made["logs"],
        failures={
            "get nodes": "Error from server (Forbidden): nodes is forbidden",
            "op-1": "Error from server (NotFound): gone",
        },
    )
    target = tmp_path / "b.tar.gz"

    answer = kube.run("support-bundle", "orders", "--file", str(target))

    readme = unpacked(target)["README.txt"]
    assert answer.exit_code == 0
    assert "nodes: nodes is forbidden" in readme
    assert "operator/logs/amaters.op-1.operator.log: " in readme
    assert "left out nodes" in answer.stderr


@pytest.mark.parametrize("value", PLANTED.values(), ids=list(PLANTED))
@pytest.mark.parametrize(
    "name", ["password", "AWS_SECRET_ACCESS_KEY", "apiKey", "token", "Authorization"]
)
@pytest.mark.parametrize(
    "form", ["{}={}", "{}: {}", '"{}": "{}"', "{} = '{}'", '\\"{}\\":\\"{}\\"']
)
def test_a_named_secret_is_masked_in_every_form(name, value, form):
    said = form.format(name, value)

    assert value not in Redaction().text(f"before {said} after")
    assert value not in json.dumps(Redaction().value({name: value}))


@pytest.mark.parametrize(
    "said",
    [
        "secretName: orders-tls",
        "credentialsSecretName = orders-backup-credentials",
        "tokenExpirationSeconds: 3600",
        "automountServiceAccountToken: false",
        "sha256:6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b",
        "uid=0b9e61c2-5d0c-4a53-9f77-2f4f4f3b1f11",
        "orders-0.orders-peers.shop.svc:7879 lag=17 term=7",
        "https://s3.eu-central-1.amazonaws.com/bucket/prefix",
        "s3://backups/orders/snapshot-17.bin",
    ],
)
def test_what_is_no_secret_stays_readable(said):
    assert Redaction().text(said) == said


def test_volumes_of_secrets_keep_their_names():
    volume = {
        "name": "tls",
        "secret": {"secretName": "orders-tls", "items": [{"key": "tls.key", "path": "tls.key"}]},
    }

    assert Redaction().value(volume) == volume


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.slow
@given(JSON)
def test_any_object_can_be_masked_and_stays_json(value):
    assert json.loads(json.dumps(Redaction().value(value))) is not Ellipsis


@given(st.text(alphabet="abcXYZ019=:\"'\\ {}-_.\n", max_size=200))
def test_a_secret_between_any_text_is_masked(noise):
    assert "hunter2hunter2" not in Redaction().text(f"{noise}\npassword=hunter2hunter2\n{noise}")


@given(JSON)
def test_a_secret_in_json_in_a_text_is_masked(value):
    text = json.dumps({"before": value, "password": "hunter2hunter2"})
    assert "hunter2hunter2" not in Redaction().value({"annotation": text})["annotation"]


@given(st.text(max_size=50))
def test_what_only_looks_like_json_stays_a_text(rest):
    assert isinstance(Redaction().value({"annotation": "{" + rest})["annotation"], str)


def test_a_long_line_is_masked_in_time():
    said = ("token" * 20_000) + " password=hunter2 " + ("A1b" * 50_000) + ("=" * 50_000)

    begun = time.process_time()

    assert "hunter2" not in Redaction().text(said)
    assert time.process_time() - begun < 3, "it was 10 s when a name could begin anywhere"


def test_the_mask_says_nothing_of_the_length():
    assert Redaction().value({"password": "a" * 100}) == {"password": MASK}


def test_the_value_of_an_option_is_masked_and_so_is_json_in_a_text():
    template = {"args": ["--password", "hunter2", "--log-level", "info"]}
    template["env"] = [{"name": "DB_PASSWORD", "value": "hunter2"}]

    masked = Redaction().value({"status": {"template": json.dumps(template)}})

    assert "hunter2" not in masked["status"]["template"]
    assert json.loads(masked["status"]["template"])["args"][2:] == ["--log-level", "info"]


def test_a_key_of_ours_is_masked_however_it_looks():
    assert "aaaa" not in Redaction().text(f"login with amk_{'a' * 43} refused")


@given(
    st.text(max_size=200),
    st.sampled_from(["", "{", "[", '{"a":', "[" * 9000, "[" * 400 + "]" * 400]),
)
def test_any_text_that_begins_like_json_is_masked(noise: str, head: str) -> None:
    masked = Redaction().value({"note": f"{head}{noise}", "copy": json.dumps({"token": noise})})

    assert isinstance(masked["note"], str)
    assert len(noise) < 12 or noise.isdigit() or noise not in masked["copy"]
