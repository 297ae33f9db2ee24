"""Who the holder of a client certificate is, and who may not call."""

import datetime as dt

import pytest
from amaters_server.config.security.authentication import AuthSection, MtlsSection
from amaters_server.identity.authenticator import Authenticator
from amaters_server.identity.certificates import principal_of
from amaters_server.identity.credentials import Credentials
from amaters_server.identity.methods import read_methods
from amaters_server.model.errors import CertificateRefusedError, ConfigurationError
from amaters_server.model.principal import Principal, PrincipalKind
from amaters_server.testing.clock import ManualClock
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
END = NOW + dt.timedelta(days=1)


def name(common: str = "", organization: str = "") -> x509.Name:
    pairs = ((NameOID.COMMON_NAME, common), (NameOID.ORGANIZATION_NAME, organization))
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in pairs if value])


class Authority:
    """Issues certificates with any subject and SANs, and lists of those it has revoked."""

    def __init__(self, common: str = "authority"):
        self.key, self.name = ec.generate_private_key(ec.SECP256R1()), name(common)
        basic = x509.BasicConstraints(ca=True, path_length=None)
        self.certificate = self.builder(self.name).add_extension(basic, critical=True).sign(
            self.key, hashes.SHA256()
        )  # fmt: skip
        self.pem = self.certificate.public_bytes(Encoding.PEM)

    def builder(self, subject: x509.Name) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - dt.timedelta(days=1))
            .not_valid_after(END)
        )

    def issue(self, subject: x509.Name, *sans: x509.GeneralName) -> x509.Certificate:
        builder = self.builder(subject)
        if sans:
            builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def revoke(
        self,
        *ones: x509.Certificate,
        due: dt.datetime = END,
        extension: x509.ExtensionType | None = None,
    ) -> bytes:
        builder = x509.CertificateRevocationListBuilder(
            self.name, NOW - dt.timedelta(days=2), due
        )  # fmt: skip
        for one in ones:
            entry = x509.RevokedCertificateBuilder(one.serial_number, NOW).build()
            builder = builder.add_revoked_certificate(entry)
        if extension is not None:
            builder = builder.add_extension(extension, critical=True)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def methods(tls_ca=None, **mtls: object):
    section = {"enabled": True, **mtls}
    auth = AuthSection.model_validate({"enabled": True, "methods": ["mtls"], "mtls": section})
    return read_methods(auth, ManualClock(NOW.timestamp()), tls_ca)


def identify(certificate: x509.Certificate, at: dt.datetime = NOW, **mtls: object) -> Principal:
    rules = methods(**mtls).certificates
    assert rules is not None
    return principal_of(certificate.public_bytes(Encoding.DER), rules, at.timestamp())


def refusal(certificate: x509.Certificate, at: dt.datetime = NOW, **mtls: object) -> str:
    with pytest.raises(CertificateRefusedError) as raised:
        identify(certificate, at, **mtls)
    return str(raised.value).removeprefix("Certificate validation failed: ")


def test_the_holder_has_the_common_name_and_the_certificates_end(authority):
    found = identify(authority.issue(name("ada", "acme")))

    assert found == Principal("ada", PrincipalKind.CERTIFICATE, (), END.timestamp())


def test_the_organization_may_be_the_name_and_has_to_be_there_then(authority):
    assert identify(authority.issue(name("ada", "acme")), mapper="organization").name == "acme"
    assert "names no organization" in refusal(authority.issue(name("ada")), mapper="organization")


def test_without_a_common_name_the_first_san_is_the_name_where_that_is_allowed(authority):
    nameless = authority.issue(name(), x509.DNSName("a.example"), x509.DNSName("b.example"))

    assert refusal(nameless) == "No CN in certificate"
    assert identify(nameless, verify_cn=False).name == "a.example"
    assert refusal(authority.issue(name()), verify_cn=False) == "No CN in certificate"


def test_subject_and_sans_give_roles(authority):
    holder = authority.issue(
        name("ada"),
        x509.DNSName("job.backup.svc"),
        x509.RFC822Name("ada@acme.example"),
        x509.UniformResourceIdentifier("spiffe://acme/ns/shop/sa/cart"),
    )
    roles = {
        "ada": ["reader"],
        "dns:*.backup.svc": ["backup"],
        "email:*@acme.example": ["staff"],
        "uri:spiffe://acme/ns/shop/*": ["user"],
        "job.backup.svc": ["admin"],
        "dns:ada": ["admin"],
    }

    assert identify(holder, roles=roles).roles == ("reader", "backup", "staff", "user")


@pytest.mark.parametrize("common", ["dns:job.backup.svc", "uri:spiffe://acme", "a\nb", "a\x1b[2J"])
def test_a_common_name_cannot_pass_for_a_san_nor_break_a_line(authority, common):
    assert "could be taken for another" in refusal(authority.issue(name(common)))


def test_only_allowed_organizations_and_principals_call(authority):
    ada = authority.issue(name("ada", "acme"), x509.DNSName("ada.acme.example"))

    assert identify(ada, allowed_organizations=["acme"], allowed_principals=["a*"])
    assert identify(ada, allowed_principals=["dns:*.acme.example"])
    assert identify(ada, allowed_principals=["*"])
    assert "allowed_organizations" in refusal(ada, allowed_organizations=["other"])
    assert "allowed_organizations" in refusal(
        authority.issue(name("ada")), allowed_organizations=["acme"]
    )
    assert "allowed_principals" in refusal(ada, allowed_principals=["adam", "ad", "dns:ada"])


def test_a_certificate_outside_its_time_is_refused(authority):
    ada = authority.issue(name("ada"))

    assert "it ended at 2027-01-02" in refusal(ada, END)
    assert "valid only from 2026-12-31" in refusal(ada, NOW - dt.timedelta(days=2))


def test_a_revoked_certificate_is_refused_by_serial_and_issuer(authority, tmp_path):
    ada, grace, other = authority.issue(name("ada")), authority.issue(name("grace")), Authority("b")
    same_serial = x509.CertificateBuilder(
        other.name, name("eve"), other.key.public_key(), ada.serial_number,
        NOW - dt.timedelta(days=1), END,
    ).sign(other.key, hashes.SHA256())  # fmt: skip
    lists = tmp_path / "crl.pem"
    lists.write_bytes(other.revoke() + authority.revoke(ada))

    assert "it is revoked" in refusal(ada, crl_path=lists)
    assert identify(grace, crl_path=lists).name == "grace"
    assert identify(same_serial, crl_path=lists).name == "eve"


def test_a_list_that_no_known_authority_has_signed_is_refused(authority, tmp_path):
    ca, lists = tmp_path / "ca.pem", tmp_path / "crl.pem"
    ca.write_bytes(authority.pem)
    for wrong in (Authority("authority").revoke(), Authority("other").revoke()):
        lists.write_bytes(wrong)
        with pytest.raises(ConfigurationError, match=r"auth.mtls.crl_path: .*by no authority"):
            methods(tls_ca=ca, crl_path=lists)
    lists.write_bytes(authority.revoke())

    assert methods(tls_ca=ca, crl_path=lists).certificates


def test_a_list_that_is_overdue_still_counts_and_is_logged(authority, tmp_path, caplog):
    ada, lists = authority.issue(name("ada")), tmp_path / "crl.pem"
    lists.write_bytes(authority.revoke(ada, due=NOW - dt.timedelta(hours=1)))

    assert "it is revoked" in refusal(ada, crl_path=lists)
    assert [record.message for record in caplog.records] == ["crl.overdue"]


@pytest.mark.parametrize("content", [b"", b"nonsense", b"-----BEGIN NONSENSE-----"])
def test_a_list_that_cannot_be_read_is_refused(tmp_path, content):
    lists = tmp_path / "crl.pem"
    lists.write_bytes(content)

    with pytest.raises(ConfigurationError, match=r"auth.mtls.crl_path: "):
        methods(crl_path=lists)


def test_the_issuer_may_have_to_be_one_of_a_folder(authority, tmp_path):
    (tmp_path / "ca.crt").write_bytes(authority.pem)
    stranger = Authority("authority").issue(name("ada"))

    assert identify(authority.issue(name("ada")), ca_certs_dir=tmp_path).name == "ada"
    assert "auth.mtls.ca_certs_dir" in refusal(stranger, ca_certs_dir=tmp_path)


def test_an_empty_folder_of_authorities_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"has no .crt, .pem or .der file"):
        methods(ca_certs_dir=tmp_path)
    with pytest.raises(ConfigurationError, match="is no folder"):
        methods(ca_certs_dir=tmp_path / "missing")


async def test_a_connection_is_looked_up_until_a_list_revokes_it(authority, tmp_path):
    ada, lists = authority.issue(name("ada")), tmp_path / "crl.pem"
    lists.write_bytes(authority.revoke())
    node = Authenticator(methods(crl_path=lists), ManualClock(NOW.timestamp()))
    credentials = Credentials("192.0.2.1", certificate=ada.public_bytes(Encoding.DER))
    await node.authenticate(credentials)
    assert node.known(credentials) is not None

    lists.write_bytes(authority.revoke(ada))
    node.replace(methods(crl_path=lists))

    assert node.known(credentials) is None
    with pytest.raises(CertificateRefusedError):
        await node.authenticate(credentials)


def test_the_published_keys_are_all_there():
    published = {"enabled", "ca_certs_dir", "crl_path", "verify_cn", "allowed_organizations"}

    assert published <= set(MtlsSection.model_fields)


def extended(authority: Authority, common: str, *usages: x509.ObjectIdentifier) -> x509.Certificate:
    builder = authority.builder(name(common)).add_extension(
        x509.ExtendedKeyUsage(usages), critical=False
    )
    return builder.sign(authority.key, hashes.SHA256())


def test_the_certificate_of_a_server_is_no_client(authority):
    server = extended(authority, "db", ExtendedKeyUsageOID.SERVER_AUTH)
    both = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)

    assert "is not issued for clients" in refusal(server)
    assert identify(extended(authority, "db", *both)).name == "db"
    assert identify(extended(authority, "db", ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE))


def test_an_authority_is_no_client(authority):
    assert "is that of an authority" in refusal(authority.certificate)


def test_a_subject_with_two_names_is_refused(authority):
    pairs = [(NameOID.COMMON_NAME, "ada"), (NameOID.COMMON_NAME, "admin")]
    two = authority.issue(x509.Name([x509.NameAttribute(*pair) for pair in pairs]))

    assert "several common names" in refusal(two)


def test_several_organizations_are_refused_only_where_one_counts(authority):
    pairs = [
        (NameOID.COMMON_NAME, "ada"),
        (NameOID.ORGANIZATION_NAME, "guests"),
        (NameOID.ORGANIZATION_NAME, "acme"),
    ]
    two = authority.issue(x509.Name([x509.NameAttribute(*pair) for pair in pairs]))

    assert identify(two).name == "ada"
    for section in ({"mapper": "organization"}, {"allowed_organizations": ["acme", "guests"]}):
        assert "several organizations" in refusal(two, **section)


def test_a_wildcard_names_no_caller(authority):
    """It is for a server of many names, and must not count as any of them."""
    wild = authority.issue(name("web"), x509.DNSName("*.backup.svc"), x509.DNSName("A.backup.svc"))

    assert identify(wild, roles={"dns:*.backup.svc": ["backup"]}).roles == ("backup",)
    only = authority.issue(name("web"), x509.DNSName("*.backup.svc"))
    assert identify(only, roles={"dns:*.backup.svc": ["backup"]}).roles == ()
    unnamed = authority.issue(name(), x509.DNSName("*.backup.svc"))
    assert refusal(unnamed, verify_cn=False) == "No CN in certificate"


def distribution(**given: object) -> x509.IssuingDistributionPoint:
    absent = {
        "full_name": None, "relative_name": None, "only_some_reasons": None,
        "only_contains_user_certs": False, "only_contains_ca_certs": False,
        "indirect_crl": False, "only_contains_attribute_certs": False,
    }  # fmt: skip
    return x509.IssuingDistributionPoint(**(absent | given))


@pytest.mark.parametrize(
    "extension",
    [
        x509.DeltaCRLIndicator(7),
        distribution(indirect_crl=True),
        distribution(only_some_reasons=frozenset({x509.ReasonFlags.key_compromise})),
        x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0"),
    ],
)
def test_a_list_that_is_not_the_whole_one_of_its_issuer_is_refused(authority, tmp_path, extension):
    lists = tmp_path / "crl.pem"
    lists.write_bytes(authority.revoke(extension=extension))

    with pytest.raises(ConfigurationError, match=r"auth.mtls.crl_path: .* critical extension"):
        methods(crl_path=lists)


def test_a_list_of_user_certificates_alone_is_whole(authority, tmp_path):
    ada, lists = authority.issue(name("ada")), tmp_path / "crl.pem"
    extension = distribution(only_contains_user_certs=True)
    lists.write_bytes(authority.revoke(ada, extension=extension))

    assert "it is revoked" in refusal(ada, crl_path=lists)
