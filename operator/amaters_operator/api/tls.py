"""The part of the spec about certificates."""

from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints

from amaters_operator.api.scalars import ApiModel, ObjectName, rule, rules

OPERATOR_PRINCIPAL = "amaters-operator"
"""The common name of the operator's certificate, where the spec does not say another."""
PrincipalPattern = Annotated[str, StringConstraints(min_length=1, max_length=253)]


class TlsSpec(ApiModel):
    """Certificates for clients, peers and the admin service."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.adminPrincipals) || size(self.adminPrincipals) == 0 || "
                "has(self.adminSecretName)",
                "adminPrincipals needs adminSecretName: without a certificate of its own the operator "
                "shows the nodes' one",
            ),
            rule(
                "!has(self.adminSecretName) || self.adminSecretName != self.secretName",
                "adminSecretName must be another Secret than secretName: its certificate is the "
                "administrator's alone",
            ),
            rule(
                "!has(oldSelf.adminSecretName) || has(self.adminSecretName)",
                "adminSecretName cannot be dropped: the nodes would refuse the operator, which could "
                "then not restart them",
            ),
        )
    )

    secret_name: ObjectName = Field(
        description=(
            "Secret with tls.crt, tls.key and ca.crt. The certificate must name "
            "*.NAME-peers.NAMESPACE.svc and NAME.NAMESPACE.svc. When the Secret changes, the "
            "nodes load the new certificate without a restart."
        )
    )
    require_client_cert: bool = Field(
        default=False,
        description="Refuse clients without a certificate signed by ca.crt. Peers always need one.",
    )
    admin_secret_name: ObjectName | None = Field(
        default=None,
        description=(
            "Secret with tls.crt and tls.key, signed by ca.crt, that the operator shows to the nodes "
            "instead of theirs. Setting it restarts the nodes, one by one; from then on the nodes' own "
            "certificate administers no more, also not in `kubectl exec`."
        ),
    )
    admin_principals: list[PrincipalPattern] = Field(
        default=[],
        max_length=16,
        description=(
            "Whose certificates administer: common names, or dns:NAME, email:NAME and uri:NAME, with "
            "* for any part. Empty: amaters-operator. The certificate of adminSecretName must be "
            "among them. Used with adminSecretName only."
        ),
    )

    @property
    def administrators(self) -> tuple[str, ...]:
        """Return whose certificates administer; none: those with the nodes' own names."""
        if self.admin_secret_name is None:
            return ()
        return tuple(self.admin_principals) or (OPERATOR_PRINCIPAL,)
