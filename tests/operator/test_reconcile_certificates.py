"""Certificate rotation on a world in memory: reload until it is loaded, proof before it is done."""

import base64
from dataclasses import replace

import pytest
from amaters_operator.kube import kinds
from amaters_operator.testing import Driver
from amaters_operator.testing.certificates import Authority, Issued
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa


def condition(cluster, question: str = "CertificatesCurrent"):
    return next(one for one in cluster.status.conditions if one.type == question)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def hand_out(driver: Driver, issued: Issued) -> None:
    driver.world.store.put(issued.secret("shop", "orders-tls"))


@pytest.fixture
def driver(authority: Authority) -> Driver:
    made = Driver()
    first = authority.issue()
    hand_out(made, first)
    made.database.arrived = first.serial
    made.world.edit(tls={"secretName": "orders-tls"})
    made.settled()
    return made


def test_a_fresh_cluster_serves_the_secrets_certificate(driver: Driver) -> None:
    driver.passes(1)

    cluster = driver.world.cluster()
    assert condition(cluster).status == "True"
    assert cluster.status.certificates.current_pods == "3/3"
    assert driver.database.reloads == []


def test_a_new_certificate_is_reloaded_and_proven_without_a_restart(
    driver: Driver, authority: Authority
) -> None:
    uids = {pod["metadata"]["uid"] for pod in driver.world.pods()}
    second = authority.issue()
    hand_out(driver, second)

    driver.passes(3)
    waiting = driver.world.cluster()
    driver.database.arrived = second.serial
    driver.passes(3)

    done = driver.world.cluster()
    assert condition(waiting).reason == "Rotating"
    assert waiting.status.certificates.current_pods == "0/3"
    assert condition(done).status == "True"
    assert done.status.certificates.serial == second.serial
    assert {member.certificate_serial for member in done.status.members} == {second.serial}
    assert set(driver.database.reloads) == {0, 1, 2}
    assert {pod["metadata"]["uid"] for pod in driver.world.pods()} == uids


def test_a_node_behind_in_file_and_certificate_is_asked_once_a_pass(
    driver: Driver, authority: Authority
) -> None:
    second = authority.issue()
    hand_out(driver, second)
    driver.database.files_arrive = False
    driver.world.edit(config={"logging": {"level": "debug"}})

    driver.passes(1)

    assert sorted(driver.database.reloads) == [0, 1, 2]
    waiting = driver.world.cluster()
    assert condition(waiting).reason == "Rotating"
    assert condition(waiting, "Reconciling").reason == "Reloading"

    driver.database.arrived, driver.database.files_arrive = second.serial, True
    done = driver.settled()
    assert condition(done).status == "True"
    assert {one["logging"]["level"] for one in driver.world.configs.values()} == {"debug"}


def test_the_rotation_is_not_done_before_a_handshake_proves_it(
    driver: Driver, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = authority.issue()
    hand_out(driver, second)
    driver.database.arrived = second.serial

    async def stale(*_: object, **__: object) -> tuple[str, str]:
        return (second.serial, "0ld")

    monkeypatch.setattr(type(driver.database), "served_serials", stale)
    driver.passes(5)

    assert condition(driver.world.cluster()).status == "False"
    assert (
        "not yet served by: orders-0, orders-1, orders-2"
        in condition(driver.world.cluster()).message
    )


def test_a_pod_that_does_not_answer_keeps_the_rotation_open(
    driver: Driver, authority: Authority
) -> None:
    second = authority.issue()
    hand_out(driver, second)
    driver.database.arrived = second.serial
    driver.world.unreachable = {2}

    driver.passes(4)

    assert condition(driver.world.cluster()).status == "False"
    driver.world.unreachable = set()
    driver.passes(4)
    assert condition(driver.world.cluster()).status == "True"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda data: data.pop("ca.crt"), "ca.crt is missing"),
        (lambda data: data.update({"tls.crt": "!!"}), "tls.crt is not base64"),
        (
            lambda data: data.update({"tls.key": base64.b64encode(b"nonsense").decode()}),
            "tls.key holds no private key in PEM",
        ),
    ],
)
def test_a_spoilt_secret_is_named_and_nothing_is_reloaded(driver: Driver, spoil, said) -> None:
    entry = next(one for one in driver.world.store.entries.values() if one.own["kind"] == "Secret")
    spoil(entry.own["data"])

    driver.passes(2)

    assert said in condition(driver.world.cluster()).message
    assert driver.database.reloads == []


def test_a_key_of_another_certificate_is_refused(driver: Driver, authority: Authority) -> None:
    one, other = authority.issue(), authority.issue()
    hand_out(driver, Issued(one.certificate, other.key, one.ca, one.serial))

    driver.passes(2)

    assert "tls.key is not the key of tls.crt" in condition(driver.world.cluster()).message


def test_a_missing_secret_says_what_to_create() -> None:
    driver = Driver()
    driver.world.edit(tls={"secretName": "absent"})
    driver.passes(3)

    cluster = driver.world.cluster()
    said = "Secret absent is missing: create it with tls.crt, tls.key, ca.crt"
    assert said in condition(cluster).message
    assert said in condition(cluster, "Ready").message
    assert condition(cluster, "Stalled").reason == "SecretUnusable"
    assert cluster.status.phase == "Creating"


REFUSED_BY_NODES = [
    (ed25519.Ed25519PrivateKey.generate, "a key of the kind Ed25519"),
    (lambda: ec.generate_private_key(ec.SECP521R1()), "an ECDSA key on secp521r1"),
    (lambda: rsa.generate_private_key(65537, 1024), "an RSA key of 1024 bits"),
]


@pytest.mark.parametrize(("made", "said"), REFUSED_BY_NODES)
def test_a_certificate_that_nodes_refuse_is_not_used_and_the_secret_is_named(
    driver: Driver, authority: Authority, made, said: str
) -> None:
    first = driver.database.arrived
    hand_out(driver, authority.issue(key=made()))
    driver.passes(3)

    cluster = driver.world.cluster()
    assert condition(cluster, "Stalled").reason == "SecretUnusable"
    for question in ("Ready", "Stalled", "CertificatesCurrent"):
        message = condition(cluster, question).message
        assert f"Secret orders-tls cannot be used: tls.crt has {said}" in message
        assert "issue one with an ECDSA key on P-256 or P-384" in message
    assert driver.database.reloads == []
    assert set(driver.database.loaded.values()) == {first}


def test_a_certificate_of_another_authority_is_not_used(
    driver: Driver, authority: Authority
) -> None:
    hand_out(driver, replace(authority.issue(), ca=Authority().pem))
    driver.passes(3)

    message = condition(driver.world.cluster(), "Stalled").message
    assert "tls.crt does not lead up to the authorities" in message
    assert driver.database.reloads == []


def test_nothing_of_a_key_is_ever_written(driver: Driver, authority: Authority) -> None:
    second = authority.issue()
    hand_out(driver, second)
    driver.database.arrived = second.serial
    driver.passes(5)

    key = base64.b64encode(second.key).decode()
    body = second.key.decode().splitlines()[1]
    written = [
        str(entry.whole())
        for entry in driver.world.store.entries.values()
        if entry.own["kind"] != "Secret"
    ]
    assert not [one for one in written if key in one or body in one]


def gone(driver: Driver) -> None:
    driver.world.store.delete(kinds.SECRET, "shop", "orders-tls")


def without_authority(driver: Driver) -> None:
    driver.world.store.entries[kinds.SECRET, "shop", "orders-tls"].own["data"].pop("ca.crt")


def malformed(driver: Driver) -> None:
    driver.world.store.entries[kinds.SECRET, "shop", "orders-tls"].own["data"]["tls.crt"] = "!!"


LOST = [
    (gone, "Secret orders-tls is missing: create it"),
    (without_authority, "Secret orders-tls cannot be used: ca.crt is missing: add it"),
    (malformed, "Secret orders-tls cannot be used: tls.crt is not base64"),
]


@pytest.mark.parametrize(("lose", "said"), LOST)
def test_nodes_that_serve_are_said_to_serve_though_their_secret_is_lost(
    driver: Driver, authority: Authority, lose, said: str
) -> None:
    lose(driver)
    driver.passes(5)

    cluster = driver.world.cluster()
    assert cluster.status.phase == "Running"
    assert condition(cluster, "Ready").status == "True"
    assert "serving: 3 of 3 pods are ready" in condition(cluster, "Ready").message
    assert (condition(cluster).status, condition(cluster).reason) == ("Unknown", "SecretUnusable")
    for question in ("Ready", "Stalled", "CertificatesCurrent"):
        assert said in condition(cluster, question).message
        assert "check the network" not in condition(cluster, question).message
    assert len([one for one in driver.events() if one.startswith("SecretUnusable")]) == 1

    second = authority.issue()
    hand_out(driver, second)
    driver.database.arrived = second.serial
    assert condition(driver.settled(), "Stalled").status == "False"


@pytest.mark.parametrize(("lose", "said"), LOST)
def test_a_roll_waits_for_the_secret_that_its_pods_start_with(
    driver: Driver, authority: Authority, lose, said: str
) -> None:
    before = {pod["metadata"]["uid"] for pod in driver.world.pods()}
    lose(driver)
    driver.world.edit(image="amaters:2")
    driver.passes(8)

    cluster = driver.world.cluster()
    assert {pod["metadata"]["uid"] for pod in driver.world.pods()} == before
    assert cluster.status.phase == "Upgrading"
    assert condition(cluster, "Ready").status == "True"
    assert said in condition(cluster, "UpgradeInProgress").message

    second = authority.issue()
    hand_out(driver, second)
    driver.database.arrived = second.serial
    assert driver.settled().status.image == "amaters:2"


def test_a_roll_away_from_a_spoilt_secret_needs_it_no_more(
    driver: Driver, authority: Authority
) -> None:
    malformed(driver)
    driver.passes(2)
    other = authority.issue()
    driver.world.store.put(other.secret("shop", "orders-tls-2"))
    driver.database.arrived = other.serial
    driver.world.edit(tls={"secretName": "orders-tls-2"})

    assert driver.settled().status.certificates.serial == other.serial


def test_a_majority_that_is_down_is_not_said_to_serve(driver: Driver) -> None:
    gone(driver)
    driver.world.unschedulable = {0, 1}
    for ordinal in (0, 1):
        driver.world.store.delete(kinds.POD, "shop", f"orders-{ordinal}")
    driver.passes(5)

    cluster = driver.world.cluster()
    assert cluster.status.phase == "Unavailable"
    assert condition(cluster, "Ready").status == "False"
    assert "Secret orders-tls is missing" in condition(cluster, "Ready").message
