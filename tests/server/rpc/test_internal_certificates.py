"""Members, administrators and neither, by certificate alone."""

import time

import pytest
from amaters_server.model.principal import ANONYMOUS
from amaters_server.rpc.peer.certificates import (
    ADMIN,
    MEMBER,
    NAMELESS,
    Administrators,
    impostor,
    names_of,
    names_of_chain,
)
from amaters_server.testing.certificates import DAY, Authority
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

AUTHORITY = Authority()
PODS = ("*.demo-peers.shop.svc", "demo.shop.svc")


def der(issued):
    return x509.load_pem_x509_certificate(issued.certificate).public_bytes(Encoding.DER)


def issue(name, *names):
    return der(AUTHORITY.issue_for(name, *names))


def role(certificate, own=NAMELESS, principals=(), now=None):
    moment = time.time() if now is None else now
    (found,) = Administrators(principals).principal(certificate, own, moment).roles
    return found


@pytest.mark.parametrize(
    ("names", "address", "covered"),
    [
        (PODS, "demo-0.demo-peers.shop.svc:7879", True),
        (PODS, "DEMO-0.demo-peers.shop.SVC.:7879", True),
        (PODS, "demo.shop.svc:7879", True),
        (PODS, "a.demo-0.demo-peers.shop.svc:7879", False),
        (PODS, "demo-peers.shop.svc:7879", False),
        (PODS, "demo-0.other-peers.shop.svc:7879", False),
        (("Node-1.example",), "node-1.EXAMPLE:7879", True),
        (("*",), "node-1:7879", False),
        (("10.0.0.1",), "10.0.0.1:7879", True),
        (("10.0.0.1",), "10.0.0.2:7879", False),
        (("2001:db8::1",), "[2001:db8:0:0::1]:7879", True),
        (("10.0.0.1.example",), "10.0.0.1:7879", False),
        (PODS, "no address", False),
        (PODS, "", False),
        ((), "amaters:7879", False),
    ],
)
def test_a_member_is_whom_its_certificate_is_for(names, address, covered):
    assert names_of(issue("amaters", *names)).cover(address) is covered


def test_the_common_name_is_no_address():
    assert not names_of(issue("node-1.example", "other.example")).cover("node-1.example:7879")


def test_what_is_no_certificate_is_for_nothing():
    for junk in (b"", b"\x30\x82", b"junk"):
        assert names_of(junk) == NAMELESS
        assert names_of_chain(junk) == NAMELESS
        assert role(junk, own=NAMELESS) == MEMBER
        assert not names_of(junk).cover("localhost:1")


def test_without_client_certificates_all_callers_are_equal():
    assert Administrators().principal(None, NAMELESS, 0) is ANONYMOUS


class TestWithoutPrincipals:
    """The holder of a certificate with the node's own names administers, and nobody else."""

    own = names_of(issue("amaters", *PODS))

    @pytest.mark.parametrize(
        ("name", "names", "expected"),
        [
            ("amaters", PODS, ADMIN),
            ("amaters", (*PODS, "one.more"), ADMIN),
            ("amaters", PODS[:1], MEMBER),
            ("app", PODS, MEMBER),
            ("amaters", (), MEMBER),
        ],
    )
    def test_its_names_are_compared(self, name, names, expected):
        assert role(issue(name, *names), own=self.own) == expected

    def test_a_renewed_certificate_has_the_same_names(self):
        assert role(issue("amaters", *reversed(PODS)), own=self.own) == ADMIN

    def test_an_expired_one_administers_no_more(self):
        later = time.time() + (20 * DAY).total_seconds()
        assert role(issue("amaters", *PODS), own=self.own, now=later) == MEMBER

    def test_a_node_whose_certificate_has_no_sans_has_no_administrator(self):
        bare = issue("amaters")
        assert role(bare, own=names_of(bare)) == MEMBER


class TestWithPrincipals:
    """Only those that are named administer."""

    own = names_of(issue("amaters", *PODS))

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("amaters-operator", ADMIN),
            ("amaters-*", ADMIN),
            ("dns:operator.tools.svc", ADMIN),
            ("uri:spiffe://shop/operator", ADMIN),
            ("operator.tools.svc", MEMBER),
            ("someone", MEMBER),
            ("*", ADMIN),
        ],
    )
    def test_by_name_and_san(self, pattern, expected):
        operator = issue("amaters-operator", "operator.tools.svc", "spiffe://shop/operator")
        assert role(operator, own=self.own, principals=(pattern,)) == expected

    def test_a_member_is_no_administrator_by_accident(self):
        assert role(issue("amaters", *PODS), self.own, ("amaters-operator",)) == MEMBER

    def test_a_common_name_cannot_pass_for_a_san(self):
        forged = issue("dns:operator.tools.svc")
        assert role(forged, self.own, ("dns:operator.tools.svc",)) == MEMBER

    def test_an_expired_one_administers_no_more(self):
        later = time.time() + (20 * DAY).total_seconds()
        operator = issue("amaters-operator")
        assert role(operator, self.own, ("amaters-operator",), now=later) == MEMBER


class TestImpostors:
    own = names_of(issue("node-1", "10.0.0.1"))
    second = names_of(issue("node-2", "10.0.0.2"))

    def test_a_member_calls_as_itself(self):
        assert impostor(self.second, self.own, "member 2", ["10.0.0.2:7879"]) == ""

    def test_and_as_no_other(self):
        reason = impostor(self.second, self.own, "member 3", ["10.0.0.3:7879"])

        assert "is for node-2, ip:10.0.0.2" in reason
        assert "member 3 is at 10.0.0.3:7879" in reason

    def test_a_member_that_is_not_known_yet_has_to_wait(self):
        assert "not known here yet" in impostor(self.second, self.own, "member 4", ())

    def test_unless_all_members_share_one_certificate(self):
        assert impostor(self.own, self.own, "member 4", ()) == ""

    def test_many_names_are_cut_in_texts(self):
        many = names_of(issue("many", *(f"host-{number}.example" for number in range(90))))
        reason = impostor(many, self.own, "member 3", ["10.0.0.3:7879"])

        assert "and 87 more" in reason
        assert len(reason) < 400
