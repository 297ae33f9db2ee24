"""The AmatersAccess: who may do what in one AmatersCluster."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from amaters_operator.api.authentication import Text
from amaters_operator.api.authorization import Hex, PermissionSpec
from amaters_operator.api.cluster import Metadata
from amaters_operator.api.conditions import Condition
from amaters_operator.api.scalars import (
    DURATION_PATTERN,
    ApiModel,
    Duration,
    ObjectName,
    Timestamp,
    form,
    rule,
    rules,
    seconds_of,
)

ACCESS_KIND = "AmatersAccess"
ACCESS_PLURAL = "amatersaccesses"
LONGEST_NAME = 63

USER_PATTERN = "^[a-z0-9]([-a-z0-9._@]*[a-z0-9])?$"
USER_MESSAGE = (
    "write a name of lower-case letters and digits, with dashes, dots, underscores or @ inside"
)

# Without control characters: a resource of a role is a line of text.
Collection = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f]*$", max_length=242)]


class ServiceAccountRef(ApiModel):
    """A ServiceAccount."""

    name: ObjectName = Field(description="Name of the ServiceAccount.")
    namespace: (
        Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
        | None
    ) = Field(
        default=None,
        description=(
            "Its namespace; that of the AmatersAccess when not set. Another one has to be in the "
            "cluster's spec.authentication.kubernetes.accessNamespaces."
        ),
    )


class UserSpec(ApiModel):
    """A name for which the operator makes a credential, and renews it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                # What is of no form has an error of its own.
                f"!self.renewAfter.matches('{DURATION_PATTERN}') || "
                f"{seconds_of('self.renewAfter')} >= 60",
                "renewAfter must be a minute or more: each key has to reach its users and the nodes",
            ),
            rule(
                f"!self.overlap.matches('{DURATION_PATTERN}') || "
                f"!self.renewAfter.matches('{DURATION_PATTERN}') || "
                f"{seconds_of('self.overlap')} < {seconds_of('self.renewAfter')}",
                "overlap must be shorter than renewAfter: a key that is replaced has to end before "
                "the next one is",
            ),
        )
    )

    name: Annotated[
        str,
        StringConstraints(pattern=USER_PATTERN),
        Field(min_length=1, max_length=63, json_schema_extra=form(USER_PATTERN, USER_MESSAGE)),
    ] = Field(description="Name of the user, as the audit log shows it. One object may have it.")
    credential: Literal["ApiKey"] = Field(
        default="ApiKey",
        description=(
            "What the Secret holds: an API key. The operator issues no client certificates: it has "
            "no key of an authority."
        ),
    )
    renew_after: Duration = Field(
        default="90d", description="Age at which the key is replaced, such as 90d or 12h."
    )
    overlap: Duration = Field(
        default="7d", description="How long the old key works beside the new one."
    )


class AccessSpec(ApiModel):
    """Who may do what in which cluster. Rights of several objects add up."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.user) != (size(self.serviceAccounts) > 0)",
                "name who: either serviceAccounts, or a user; for both create two objects",
            ),
            rule(
                "has(self.user) == has(oldSelf.user)",
                "an object stays one of serviceAccounts or one of a user: create another object",
            ),
            rule(
                "self.clusterName == oldSelf.clusterName",
                "clusterName cannot be changed: create another object for the other cluster",
            ),
        )
    )

    cluster_name: Annotated[ObjectName, Field(max_length=40)] = Field(
        description="Name of the AmatersCluster, in the same namespace."
    )
    service_accounts: list[ServiceAccountRef] = Field(
        default=[],
        max_length=32,
        description="ServiceAccounts whose pods log in with their token; no Secret is needed.",
    )
    user: UserSpec | None = Field(
        default=None, description="A name for which the operator makes a Secret with a key."
    )
    collections: list[Collection] = Field(
        min_length=1,
        max_length=16,
        description="Names of collections, in which * is any run of characters.",
    )
    prefixes: list[Text] = Field(
        default=[], max_length=32, description="Only keys that begin so. Empty: all."
    )
    prefixes_hex: list[Hex] = Field(
        default=[], max_length=32, description="The same for keys that are not text."
    )
    verbs: list[Literal["read", "write"]] = Field(
        min_length=1, max_length=2, description="The highest counts: write includes read."
    )

    @property
    def permissions(self) -> list[PermissionSpec]:
        """What the object grants, as rules of a role."""
        return [
            PermissionSpec(
                resource=f"collection:{name}",
                actions=list(self.verbs),
                key_prefixes=self.prefixes,
                key_prefixes_hex=self.prefixes_hex,
            )
            for name in self.collections
        ]


class AccessStatus(ApiModel):
    """What the operator has observed."""

    observed_generation: int = Field(
        default=0, description="metadata.generation that the status is about."
    )
    who: str = Field(default="", description="The user, or the ServiceAccounts.")
    secret_name: str = Field(default="", description="Secret with the user's key, in `api-key`.")
    renews_at: Timestamp | None = Field(
        default=None, description="When the key is replaced by another one."
    )
    in_force: str = Field(
        default="", description="Digest of the rights that every node has loaded."
    )
    keys: list[str] = Field(
        default=[], description="Ids of the user's keys that every node has loaded."
    )
    conditions: list[Condition] = Field(
        default=[],
        description="Ready, Reconciling and Stalled, each with a reason and the next step.",
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
    )


class AmatersAccess(ApiModel):
    """Rights of ServiceAccounts or of a user in an AmatersCluster."""

    metadata: Metadata
    spec: AccessSpec
    status: AccessStatus = Field(default=AccessStatus())

    @property
    def name(self) -> str:
        """Name of the object."""
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """Its namespace, which is the cluster's."""
        return self.metadata.namespace

    @property
    def key(self) -> str:
        """`namespace/name`, as logs name it."""
        return f"{self.namespace}/{self.name}"

    @property
    def secret_name(self) -> str:
        """Name of the Secret that is made for its user."""
        return f"{self.name}-login"

    @property
    def accounts(self) -> tuple[tuple[str, str], ...]:
        """Namespace and name of its ServiceAccounts, each once."""
        here = self.metadata.namespace
        named = ((one.namespace or here, one.name) for one in self.spec.service_accounts)
        return tuple(dict.fromkeys(named))

    @property
    def who(self) -> str:
        """The user, or the ServiceAccounts, in a line."""
        if self.spec.user is not None:
            return self.spec.user.name
        here = self.metadata.namespace
        return ", ".join(name if at == here else f"{at}/{name}" for at, name in self.accounts)
