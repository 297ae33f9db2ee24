"""`spec.authentication`: which credentials of clients the nodes accept."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from amaters_operator.api.scalars import ApiModel, ObjectName, rule, rules

Text = Annotated[str, StringConstraints(min_length=1, max_length=253)]
KeyAddress = Annotated[str, StringConstraints(pattern=r"^https://", max_length=1024)]
RoleNames = Annotated[list[Text], Field(max_length=16)]
RolePatterns = Annotated[dict[str, RoleNames], Field(json_schema_extra={"maxProperties": 64})]
Algorithm = Literal["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "EdDSA"]


class KubernetesLogin(ApiModel):
    """Pods log in with their projected ServiceAccount token; no Secret is needed."""

    audience: Text = Field(
        description="Audience that clients name in their serviceAccountToken volume."
    )
    issuer: Text = Field(
        default="https://kubernetes.default.svc.cluster.local",
        description=(
            "Issuer of the tokens: the `issuer` of `kubectl get --raw "
            "/.well-known/openid-configuration`."
        ),
    )
    jwks_url: KeyAddress = Field(
        default="https://kubernetes.default.svc/openid/v1/jwks",
        description=(
            "Where the API server publishes its keys. The nodes fetch them with a token of "
            "their own ServiceAccount."
        ),
    )
    roles: RolePatterns = Field(
        default={},
        description=(
            "ServiceAccount to roles: system:serviceaccount:NAMESPACE:NAME, with * for any run of "
            "characters but colons. Those that match none are refused, unless an AmatersAccess "
            "names them."
        ),
    )
    access_namespaces: list[Annotated[str, StringConstraints(max_length=63)]] = Field(
        default=[],
        max_length=64,
        description=(
            "Namespaces, besides the cluster's own, whose ServiceAccounts an AmatersAccess may "
            "name; * for all of them."
        ),
    )


class JwtLogin(ApiModel):
    """Clients log in with a signed token of an issuer."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.jwksUrl) != has(self.secretName)",
                "name the keys of the issuer once: by jwksUrl, or by secretName",
            ),
            rule(
                "self.algorithms.all(one, one.startsWith('HS')) || "
                "self.algorithms.all(one, !one.startsWith('HS'))",
                "algorithms with a shared secret (HS) and with public keys exclude each other: keep "
                "those of one kind",
            ),
            rule(
                "!has(self.jwksUrl) || self.algorithms.all(one, !one.startsWith('HS'))",
                "jwksUrl serves public keys: name algorithms without HS, or secretName",
            ),
        )
    )

    algorithms: list[Algorithm] = Field(
        default=["RS256"], min_length=1, max_length=9, description="Algorithms accepted."
    )
    jwks_url: KeyAddress | None = Field(
        default=None, description="Where the issuer publishes its keys."
    )
    secret_name: ObjectName | None = Field(
        default=None,
        description=(
            "Secret with the issuer's public keys in jwks.json; with HS algorithms, with the shared "
            "secret in `secret`. A correction is applied by a reload."
        ),
    )
    issuer: Text | None = Field(default=None, description="Demanded `iss` claim.")
    audience: Text | None = Field(default=None, description="Demanded in the `aud` claim.")
    leeway_seconds: int = Field(
        default=60, ge=0, le=3600, description="Tolerated difference of clocks."
    )
    roles_claim: Text = Field(
        default="roles", description="Claim with the roles; dots lead into objects."
    )

    @property
    def shared_secret(self) -> bool:
        """Whether the key of the algorithms is a shared secret."""
        return all(one.startswith("HS") for one in self.algorithms)


class ApiKeyLogin(ApiModel):
    """Clients log in with an API key."""

    secret_name: ObjectName | None = Field(
        default=None,
        description=(
            "Secret with a file of keys in api-keys.json, as `amaters-server api-key create` "
            "writes it. A correction is applied by a reload. Keys of AmatersAccess objects count "
            "with it and without it."
        ),
    )
    header_name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$", max_length=64)] = (
        Field(default="X-API-Key", description="Header that carries the key.")
    )


class MtlsLogin(ApiModel):
    """Clients log in with their certificate; needs tls.requireClientCert."""

    allowed_organizations: list[Text] = Field(
        default=[], max_length=64, description="Organizations that may call. Empty: all."
    )
    allowed_principals: list[Text] = Field(
        default=[],
        max_length=64,
        description=(
            "Names that may call, with * for any part: common names, or dns:NAME, email:NAME and "
            "uri:NAME. Empty: all."
        ),
    )
    roles: RolePatterns = Field(
        default={},
        description="Such names to roles. Callers that match none have the default role.",
    )


class AuthenticationSpec(ApiModel):
    """Which credentials of clients the nodes accept."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.kubernetes) || has(self.jwt) || has(self.apiKey) || has(self.mtls)",
                "name at least one way to log in: kubernetes, jwt, apiKey or mtls",
            )
        )
    )

    kubernetes: KubernetesLogin | None = Field(
        default=None, description="Pods with their projected ServiceAccount token."
    )
    jwt: JwtLogin | None = Field(default=None, description="Signed tokens of an issuer.")
    api_key: ApiKeyLogin | None = Field(default=None, description="API keys.")
    mtls: MtlsLogin | None = Field(default=None, description="Certificates of clients.")
    failures_per_minute: int = Field(
        default=60,
        ge=1,
        le=1000000,
        description="Failed logins of one address before its new API keys have to wait.",
    )
