"""The operator uses the certificate that nodes take for an administrator's, and no other."""

import datetime as dt
import time

import pytest
from amaters_operator.database.certificates import CertificateError, administrator
from amaters_server.rpc.peer.certificates import ADMIN, NAMELESS, Administrators
from amaters_server.testing.certificates import CLIENT, DAY, SERVER, Authority
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

NOW = dt.datetime.now(dt.UTC)
AUTHORITY = Authority()


def taken(issued, *principals, ca=AUTHORITY.pem) -> str:
    """Return why it is refused, or nothing."""
    try:
        administrator(issued.certificate, issued.key, ca, principals, dt.datetime.now(dt.UTC))
    except CertificateError as refused:
        return str(refused)
    return ""


@pytest.mark.parametrize("usages", [(CLIENT,), (CLIENT, SERVER)])
def test_a_clients_certificate_is_enough(usages) -> None:
    assert taken(AUTHORITY.issue("operator", usages=usages), "operator") == ""


@pytest.mark.parametrize(
    ("issued", "text"),
    [
        (AUTHORITY.issue("operator", usages=(SERVER,)), "is not issued for clientAuth"),
        (AUTHORITY.issue("operator", starts=NOW - 3 * DAY, lasts=DAY), "expired at"),
        (Authority().issue("operator"), "does not lead up to the authorities"),
    ],
)
def test_what_nodes_would_refuse_is_refused(issued, text) -> None:
    assert text in taken(issued, "operator")


@pytest.mark.parametrize("name", ["operator", "dns:operator", "", "amaters operator", "a:b"])
@pytest.mark.parametrize(
    "pattern",
    [
        "operator",
        "oper*",
        "*",
        "dns:*",
        "dns:ops.tools.svc",
        "dns:*.svc",
        "uri:spiffe://shop/operator",
        "uri:spiffe:*",
        "a:*",
        "a*",
        "*operator*",
        "[^:]*",
    ],
)
def test_operator_and_nodes_agree_on_who_is_named(name: str, pattern: str) -> None:
    names = ("ops.tools.svc", "spiffe://shop/operator")
    issued = AUTHORITY.issue_for(name, *names) if name else AUTHORITY.issue_for("x", *names)
    leaf = x509.load_pem_x509_certificate(issued.certificate)
    der = leaf.public_bytes(Encoding.DER)
    (role,) = Administrators([pattern]).principal(der, NAMELESS, time.time()).roles

    assert (taken(issued, pattern) == "") is (role == ADMIN)
