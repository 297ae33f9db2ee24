"""The section about authentication: which credentials are accepted, and how they are checked."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from amaters_server.config.faults import Fault
from amaters_server.config.sections import Count, NetworkSection, Positive, Section

AuthMethod = Literal["mtls", "jwt", "api_key", "kubernetes"]
JwtAlgorithm = Literal[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "EdDSA"
]
RolePatterns = Mapping[str, tuple[str, ...]]
"""Names, with `*` for any run of characters but colons, to the roles of whom they match."""

HOUR = 3600
TAKEN = ("authorization", "connection", "content-type", "host", "te", "user-agent")
"""Headers that mean something else."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def _key_address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK):
        return text
    raise ValueError(
        "Whoever can change the keys on their way can log in as anyone: use an https:// address"
    )


def _header_name(text: str) -> str:
    name = text.lower()
    carries = re.fullmatch(r"[a-z0-9_.-]+", name) is not None and not name.endswith("-bin")
    if not carries or name in TAKEN or name.startswith("grpc-"):
        raise ValueError("Not the name of a header that can carry a key: use one such as X-API-Key")
    return text


KeyAddress = Annotated[str, AfterValidator(_key_address)]


class MtlsSection(Section):
    """Callers with a certificate, which the listener has verified (`network.tls_ca`)."""

    enabled: bool = Field(default=False, description="Accept this method.")
    ca_certs_dir: Path | None = Field(
        default=None,
        description="Folder of authorities (.crt, .pem, .der), one of which must itself have "
        "issued the certificate. Absent: any of `network.tls_ca`, through intermediates too.",
    )
    crl_path: Path | None = Field(
        default=None,
        description="Lists of revoked certificates (PEM or DER), read again on SIGHUP.",
    )
    verify_cn: bool = Field(
        default=True, description="Demand a common name; otherwise the first SAN may be the name."
    )
    allowed_organizations: tuple[str, ...] = Field(default=(), description="Empty: all.")
    allowed_principals: tuple[str, ...] = Field(
        default=(),
        description="Names that may call, `*` for any part of one; SANs as `dns:NAME`, "
        "`email:NAME` and `uri:NAME`. Empty: all.",
    )
    mapper: Literal["default", "organization"] = Field(
        default="default", description="The name of the caller: its common name or organization."
    )
    roles: RolePatterns = Field(
        default={},
        description='Name or SAN to roles, such as `"dns:*.backup.svc" = ["reader"]`. Callers '
        "that match none have the default role.",
    )


class JwtSection(Section):
    """Callers with a signed token (`authorization: Bearer TOKEN`)."""

    enabled: bool = Field(default=False, description="Accept this method.")
    secret: SecretStr | None = Field(
        default=None,
        description="Shared secret of the HS algorithms; at least 32, 48 or 64 bytes.",
    )
    secret_file: Path | None = Field(
        default=None, description="Holds the secret, instead of `secret`."
    )
    public_key_path: Path | None = Field(
        default=None, description="Public key of the RS algorithms."
    )
    ec_public_key_path: Path | None = Field(
        default=None, description="Public key of the ES algorithms."
    )
    ed_public_key_path: Path | None = Field(default=None, description="Public key of EdDSA.")
    jwks: str | None = Field(default=None, description="Public keys as JWKS, in this file.")
    jwks_file: Path | None = Field(default=None, description="Public keys as JWKS, in a file.")
    jwks_url: KeyAddress | None = Field(
        default=None,
        description="Public keys as JWKS, at the issuer. They are fetched again every 10 minutes, "
        "and for an unknown key id at most once in 30 s. Known keys serve while it is away.",
    )
    algorithm: JwtAlgorithm = Field(default="HS256", description="The algorithm accepted.")
    algorithms: tuple[JwtAlgorithm, ...] = Field(
        default=(), description="The algorithms accepted, instead of `algorithm`."
    )
    expiration_secs: Count = Field(
        default=HOUR, description="Without effect: this server issues no tokens."
    )
    issuer: str | None = Field(default=None, description="Demanded `iss` claim.")
    audience: str | None = Field(
        default=None,
        description="Demanded in the `aud` claim. Absent: tokens with that claim are refused.",
    )
    leeway_secs: Count = Field(default=60, description="Tolerated difference of clocks.")
    roles_claim: str = Field(
        default="roles", description="Claim with the roles; dots lead into objects."
    )

    @property
    def accepted(self) -> tuple[str, ...]:
        """The algorithms accepted."""
        return self.algorithms or (self.algorithm,)


class KubernetesSection(Section):
    """Pods with their projected ServiceAccount token; no Secret is needed."""

    enabled: bool = Field(default=False, description="Accept this method.")
    audience: str | None = Field(
        default=None, description="Demanded in the `aud` claim: that of the projected volume."
    )
    issuer: str = Field(
        default="https://kubernetes.default.svc.cluster.local",
        description="Demanded `iss` claim: `--service-account-issuer` of the API server.",
    )
    roles: RolePatterns = Field(
        default={},
        description="ServiceAccount to roles, such as "
        '`"system:serviceaccount:shop:*" = ["user"]`. Those that match none are refused.',
    )
    jwks: str | None = Field(default=None, description="The API server's keys, for air gaps.")
    jwks_file: Path | None = Field(default=None, description="Its keys in a file, likewise.")
    jwks_url: KeyAddress = Field(
        default="https://kubernetes.default.svc/openid/v1/jwks",
        description="Where the API server publishes its keys, unless they are given here.",
    )
    token_file: Path | None = Field(
        default=Path("/var/run/secrets/kubernetes.io/serviceaccount/token"),
        description="Token of this pod; read for each request.",
    )
    ca_file: Path | None = Field(
        default=Path("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"),
        description="Authority of the API server.",
    )


class ApiKeySection(Section):
    """Callers with an API key; `amaters-server api-key create` writes the file."""

    enabled: bool = Field(default=False, description="Accept this method.")
    keys_file: Path | None = Field(
        default=None, description="The keys (JSON), read again on SIGHUP."
    )
    further_keys_files: tuple[Path, ...] = Field(
        default=(), description="More files of keys, which others write. No key may be in two."
    )
    header_name: Annotated[str, AfterValidator(_header_name)] = Field(
        default="X-API-Key", description="Header that carries the key."
    )
    hash_keys: bool = Field(default=True, description="The file holds digests, not keys.")
    hmac_secret_file: Path | None = Field(
        default=None,
        description="Secret of digests by HMAC, without which a stolen file tests no guess.",
    )


class AuthSection(Section):
    """Authentication. A call presents a token, an API key, or only its connection's certificate."""

    enabled: bool = Field(default=False, description="Demand authentication.")
    methods: tuple[AuthMethod, ...] = Field(
        default=("mtls",), description="Methods accepted; each has to be enabled, too."
    )
    reject_unauthenticated: bool = Field(
        default=True,
        description="Refuse calls without a credential. An invalid one is always refused.",
    )
    failures_per_minute: Positive = Field(
        default=60,
        description="Failed logins of one address before API keys that are new have to wait. Tokens "
        "and certificates are still checked then, 100 a second for all such addresses.",
    )
    mtls: MtlsSection = MtlsSection()
    jwt: JwtSection = JwtSection()
    kubernetes: KubernetesSection = KubernetesSection()
    api_key: ApiKeySection = ApiKeySection()

    def uses(self, method: AuthMethod) -> bool:
        """Whether the method is in force: listed, and enabled."""
        section: MtlsSection | JwtSection | KubernetesSection | ApiKeySection = getattr(
            self, method
        )
        return self.enabled and method in self.methods and section.enabled


def contradictory(auth: AuthSection, network: NetworkSection) -> Iterator[Fault]:
    """Name what the methods in force lack."""
    methods: tuple[AuthMethod, ...] = ("mtls", "jwt", "kubernetes", "api_key")
    if auth.enabled and not any(map(auth.uses, methods)):
        yield Fault(
            "auth.methods",
            "Authentication enabled but no valid auth methods configured: list a method, and set "
            "enabled = true in its own table",
        )
    for method in methods:
        if auth.enabled and method not in auth.methods and getattr(auth, method).enabled:
            yield Fault(
                f"auth.{method}.enabled",
                f"it is not accepted while auth.methods does not list {method}: list it, or set "
                "enabled to false",
            )
    if auth.uses("mtls") and not (network.tls_enabled and network.require_client_cert):
        yield Fault(
            "auth.mtls.enabled",
            "Certificates are only seen with TLS: set network.tls_enabled and "
            "network.require_client_cert to true, and network.tls_ca",
        )
    if auth.uses("jwt"):
        yield from _jwt(auth.jwt)
    if auth.uses("kubernetes"):
        yield from _kubernetes(auth.kubernetes)
    if auth.uses("api_key") and auth.api_key.keys_file is None:
        yield Fault("auth.api_key.keys_file", "API keys enabled but no keys file specified")


def doubtful(auth: AuthSection, network: NetworkSection) -> Iterator[str]:
    """Name what is valid and probably unintended."""
    if auth.uses("jwt") and auth.jwt.expiration_secs != HOUR:
        yield "auth.jwt.expiration_secs has no effect: this server issues no tokens, it checks them"
    shared = auth.uses("jwt") or auth.uses("kubernetes") or auth.uses("api_key")
    if shared and not network.tls_enabled:
        yield (
            "auth: tokens and keys cross the network in the clear, and whoever sees one can use "
            "it: set network.tls_enabled to true"
        )


def _jwt(jwt: JwtSection) -> Iterator[Fault]:
    sets = jwt.jwks or jwt.jwks_file or jwt.jwks_url
    keys = {
        "HS": (jwt.secret or jwt.secret_file, "secret"),
        "RS": (jwt.public_key_path or sets, "public_key_path"),
        "ES": (jwt.ec_public_key_path or sets, "ec_public_key_path"),
        "Ed": (jwt.ed_public_key_path or sets, "ed_public_key_path"),
    }
    for algorithm in jwt.accepted:
        given, key = keys[algorithm[:2]]
        if not given:
            instead = "" if key == "secret" else ", or one of jwks, jwks_file and jwks_url"
            yield Fault(
                f"auth.jwt.{key}", f"{algorithm} accepted but no key for it: set {key}{instead}"
            )
    for one, other in (("secret", "secret_file"), ("jwks", "jwks_file")):
        if getattr(jwt, one) and getattr(jwt, other):
            yield Fault(f"auth.jwt.{other}", f"auth.jwt.{one} is set too: remove one of them")


def _kubernetes(kubernetes: KubernetesSection) -> Iterator[Fault]:
    if not kubernetes.audience:
        yield Fault(
            "auth.kubernetes.audience",
            "Kubernetes tokens accepted but no audience specified, and tokens for other services "
            "would be good here: set it to the audience of the pods' projected volumes",
        )
    if not kubernetes.roles:
        yield Fault(
            "auth.kubernetes.roles",
            "Kubernetes tokens accepted but no ServiceAccount has a role: add one, such as "
            '"system:serviceaccount:shop:*" = ["user"]',
        )
