"""What the real API server refuses by the CRD, and in which words. Needs no node."""

import json
import re

import pytest
import yaml

from demo.kubectl import ROOT, CommandError, Kubectl, eventually

pytestmark = pytest.mark.e2e

ZONE = {"key": "zone", "operator": "In", "values": ["a"]}


@pytest.fixture(scope="module")
def dry_run(kubectl: Kubectl):
    """Hand a spec to the API server, which keeps nothing of it."""
    kubectl("apply", "--server-side", "--force-conflicts", "--filename", str(ROOT / "crds"))
    established = "--for=condition=established"
    kubectl("wait", established, "crd/amatersclusters.amaters.io", "--timeout=30s")
    eventually("the kind is known", lambda: kubectl("get", "amc") is not None, within=30)

    def hand(spec: dict) -> str:
        cluster = {
            "apiVersion": "amaters.io/v1alpha1",
            "kind": "AmatersCluster",
            "metadata": {"name": "dry", "namespace": kubectl.namespace},
            "spec": {"image": "amaters:1"} | spec,
        }
        return kubectl("apply", "--dry-run=server", "--filename", "-", stdin=json.dumps(cluster))

    return hand


def required_nodes(*expressions: dict) -> dict:
    terms = {"nodeSelectorTerms": [{"matchExpressions": list(expressions)}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    return {"scheduling": {"affinity": affinity}}


def apart(**term: object) -> dict:
    terms = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    return {"scheduling": {"affinity": {"podAntiAffinity": terms}}}


def tolerated(**toleration: object) -> dict:
    return {"scheduling": {"tolerations": [toleration]}}


def spread(*constraints: dict) -> dict:
    return {"scheduling": {"topologySpreadConstraints": list(constraints)}}


def backed_up(**backup: object) -> dict:
    return {"backup": {"destination": "s3://backups/dry", **backup}}


def restored(uri: str) -> dict:
    return backed_up() | {"bootstrap": {"restoreFrom": uri}}


def logins(**authentication: object) -> dict:
    return {"authentication": authentication}


PODS = {"audience": "amaters", "roles": {"system:serviceaccount:shop:*": ["user"]}}
REPORTS = {
    "name": "reports",
    "permissions": [
        {"resource": "collection:orders", "actions": ["read"], "keyPrefixes": ["eu/"]},
    ],
}

OVER_ZONES = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
OVER_NODES = OVER_ZONES | {
    "topologyKey": "kubernetes.io/hostname",
    "whenUnsatisfiable": "ScheduleAnyway",
}

REFUSED = [
    ({"resources": {"limits": {"memory": "256Mi"}}}, "a limit must not be below its request"),
    (
        {"resources": {"requests": {"cpu": 2}, "limits": {"cpu": "1500m"}}},
        "a limit must not be below its request",
    ),
    ({"resources": {"requests": {"memry": "1Gi"}}}, "write cpu, memory, ephemeral-storage"),
    (required_nodes(ZONE | {"operator": "Is"}), 'Unsupported value: "Is"'),
    (required_nodes(ZONE | {"values": []}), "In and NotIn need values"),
    (required_nodes(ZONE | {"operator": "Gt", "values": ["1", "2"]}), "Gt and Lt exactly one"),
    (apart(topologyKey="zone", labelSelector={"matchLabels": {"a": "b c"}}), "a label value"),
    (apart(labelSelector={}), "topologyKey: Required value"),
    ({"scheduling": {"affinity": {"nodeAfinity": {}}}}, "nodeAfinity"),
    (tolerated(value="a"), "a toleration without a key"),
    (tolerated(key="k", operator="Exists", value="a"), "operator Exists tolerates every value"),
    (tolerated(key="k", value="a", tolerationSeconds=3), "for effect: NoExecute only"),
    (tolerated(key="k!", value="a"), "write a key as NAME or DOMAIN/NAME"),
    (spread(OVER_ZONES | {"maxSkew": 0}), "greater than or equal to 1"),
    (spread(OVER_ZONES | {"whenUnsatisfiable": "Never"}), 'Unsupported value: "Never"'),
    (spread(OVER_NODES), "onePerNode makes a constraint over kubernetes.io/hostname already"),
    (spread(OVER_ZONES, OVER_ZONES), "two topologySpreadConstraints have the same topologyKey"),
    ({"scheduling": {"nodeSelector": {"disk": "very fast"}}}, "a label value"),
    ({"scheduling": {"nodeSelector": {"disk!": "fast"}}}, "write a key as NAME"),
    ({"podLabels": {"team": "my team"}}, "a label value"),
    ({"podLabels": {"my team": "a"}}, "write a key as NAME"),
    ({"podAnnotations": {"my note": "a"}}, "write a key as NAME"),
    ({"service": {"annotations": {"my note": "a"}}}, "write a key as NAME"),
    ({"monitoring": {"labels": {"a": "b c"}}}, "a label value"),
    (backed_up(destination="backups"), "write bucket and prefix as s3://BUCKET/PREFIX"),
    (backed_up(schedule="61 25 * * *"), "write five fields: minute 0-59"),
    (backed_up(schedule="@daily"), "write five fields: minute 0-59"),
    (backed_up(schedule="0 3 * * *", timeZone="Europe/Berln"), "write an IANA time zone"),
    (backed_up(schedule="0 3 * * *", timeZone="Local"), "write an IANA time zone"),
    (backed_up(schedule="0 3 * * *", timeZone="+02:00"), "write an IANA time zone"),
    (logins(), "name at least one way to log in"),
    (logins(kubernetes={"roles": PODS["roles"]}), "audience: Required value"),
    (logins(jwt={}), "name the keys of the issuer once"),
    (logins(jwt={"secretName": "a", "jwksUrl": "https://b"}), "name the keys of the issuer once"),
    (logins(jwt={"jwksUrl": "https://b", "algorithms": ["HS256"]}), "jwksUrl serves public keys"),
    (logins(jwt={"secretName": "a", "algorithms": ["HS256", "RS256"]}), "exclude each other"),
    (logins(mtls={}), "authentication.mtls needs tls.requireClientCert"),
    (logins(mtls={}) | {"tls": {"secretName": "t"}}, "authentication.mtls needs"),
    ({"authorization": {}}, "authorization and audit need spec.authentication"),
    ({"audit": {}}, "authorization and audit need spec.authentication"),
    (
        logins(kubernetes=PODS) | {"audit": {"onFailure": "block"}},
        "onFailure: block needs destination: Volume",
    ),
    (
        logins(kubernetes=PODS) | {"authorization": {"roles": [REPORTS]}},
        "defaultRole must be one of roles",
    ),
    (
        logins(kubernetes=PODS)
        | {
            "authorization": {
                "roles": [REPORTS],
                "defaultRole": "reports",
                "anonymousRole": "guest",
            }
        },
        "anonymousRole must be one of roles",
    ),
    (restored("nonsense"), "write the backup as s3://BUCKET/KEY"),
    (restored("https://backups/a"), "write the backup as s3://BUCKET/KEY"),
]
TAKEN = [
    {},
    {"resources": {"limits": {"memory": "512Mi", "cpu": 1}}},
    {
        "resources": {
            "requests": {"cpu": "1", "memory": "256Mi", "hugepages-2Mi": "4Mi"},
            "limits": {"cpu": 2, "memory": "1Gi", "hugepages-2Mi": "4Mi", "example.com/gpu": 1},
        }
    },
    required_nodes(
        ZONE,
        {"key": "cpus", "operator": "Gt", "values": ["4"]},
        {"key": "example.com/fast", "operator": "Exists"},
    ),
    apart(topologyKey="topology.kubernetes.io/zone", labelSelector={}, matchLabelKeys=["a"]),
    tolerated(operator="Exists"),
    tolerated(key="a.b/c", operator="Exists", effect="NoExecute", tolerationSeconds=30),
    tolerated(key="k", value=""),
    spread(
        OVER_ZONES | {"labelSelector": {"matchLabels": {"a": "b"}}, "nodeTaintsPolicy": "Honor"}
    ),
    {"scheduling": {"nodeSelector": {"disk": "fast", "node.kubernetes.io/a": ""}}},
    {"podLabels": {"team": "my-team"}, "podAnnotations": {"a/b": "any thing"}},
    backed_up(schedule="*/15 0-6,22-23/2 1,15 jan-mar MON-FRI"),
    backed_up(schedule="5 4 L * sun#2"),
    backed_up(schedule="0 3 * * *", timeZone="America/Argentina/Buenos_Aires"),
    backed_up(schedule="0 3 * * *", timeZone="Etc/GMT+3"),
    logins(kubernetes=PODS, jwt={"jwksUrl": "https://issuer.example/keys"}),
    logins(jwt={"secretName": "a", "algorithms": ["HS256", "HS512"]}, apiKey={"secretName": "b"}),
    logins(mtls={"roles": {"dns:*.shop.svc": ["user"]}})
    | {"tls": {"secretName": "t", "requireClientCert": True}},
    logins(kubernetes=PODS)
    | {
        "authorization": {"roles": [REPORTS], "defaultRole": "reports"},
        "audit": {"destination": "Volume", "onFailure": "block", "record": "all"},
    },
    restored("s3://backups/old/snapshot_7.amaters"),
    restored("s3://backups"),
]


@pytest.mark.parametrize(("spec", "words"), REFUSED)
def test_what_cannot_work_is_refused_with_what_to_write(dry_run, spec: dict, words: str):
    with pytest.raises(CommandError) as refused:
        dry_run(spec)

    assert words in str(refused.value)


def test_the_hardening_page_is_taken_whole(dry_run, kubectl: Kubectl):
    page = (ROOT / "docs" / "hardening.md").read_text()
    blocks = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    written = [one for block in blocks for one in yaml.safe_load_all(block)]
    known = [one for one in written if one["kind"] != "Certificate"]
    for one in known:
        if "namespace" in one["metadata"]:
            one["metadata"]["namespace"] = kubectl.namespace
        if one["kind"] == "ServiceAccount":
            kubectl.apply(one)
        kubectl("apply", "--dry-run=server", "--filename", "-", stdin=json.dumps(one))
    [cluster] = [one for one in known if one["kind"] == "AmatersCluster"]

    assert len(known) == 6
    assert "dry" in dry_run(cluster["spec"])


@pytest.mark.parametrize("spec", TAKEN)
def test_what_can_work_is_taken(dry_run, spec: dict):
    assert "dry" in dry_run(spec)
