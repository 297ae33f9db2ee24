"""What the operator may do with which objects, and why. Pure.

The chart grants exactly this in each watched namespace, and the door to the API counts by it. The
test kit refuses everything else as a real API server does: a new use is declared here and in
the chart (`operator.rules`), or it fails its own tests first.
"""

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from amaters_operator.kube import kinds
from amaters_operator.kube.kinds import Kind

DISCOVERY: Final = "(discovery)"
"""The resource of a request that reads what the API server serves; everyone may."""

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_PATH = re.compile(
    r"^/(?:api|apis/(?P<group>[^/]+))/(?P<version>[^/]+)(?:/namespaces/[^/]+)?"
    r"/(?P<plural>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<sub>[^/]+))?)?$"
)


class Right(NamedTuple):
    """One verb on one kind of object."""

    group: str
    resource: str
    """Its plural, with the subresource: `pods/eviction`."""
    verb: str

    @property
    def qualified(self) -> str:
        """Return the resource with its group, as kubectl spells it: `statefulsets.apps`."""
        plural, slash, sub = self.resource.partition("/")
        return f"{plural}.{self.group}{slash}{sub}" if self.group else self.resource


@dataclass(frozen=True, slots=True)
class Grant:
    """The verbs that the operator uses on one kind, with the reason."""

    kind: Kind
    verbs: tuple[str, ...]
    why: str
    subresource: str = ""

    @property
    def rights(self) -> tuple[Right, ...]:
        """Return each verb by itself."""
        sub = f"/{self.subresource}" if self.subresource else ""
        return tuple(Right(self.kind.group, self.kind.plural + sub, verb) for verb in self.verbs)


WATCH: Final = ("list", "watch")
APPLY: Final = ("create", "patch")
"""Server-side apply patches an object, and creates one that is missing."""

GRANTS: Final = (
    Grant(kinds.CLUSTER, ("get", *WATCH), "the desired state"),
    Grant(kinds.CLUSTER, ("patch",), "the observed state", subresource="status"),
    Grant(kinds.ACCESS, WATCH, "who may do what in a cluster"),
    Grant(kinds.ACCESS, ("patch",), "which accesses are in force", subresource="status"),
    Grant(kinds.POD, WATCH, "which members run, and why one does not"),
    Grant(kinds.POD, ("delete",), "a pod on a dead node, once its member was removed"),
    Grant(kinds.POD, ("create",), "replaces a pod as far as budgets allow", subresource="eviction"),
    Grant(
        kinds.SECRET,
        ("get",),
        "the Secrets that a spec names: certificates, keys of stores. Never listed or watched",
    ),
    Grant(
        kinds.SECRET,
        APPLY,
        "keys of the users of AmatersAccess objects; left out with `access.secrets: false`",
    ),
    Grant(kinds.CONFIG_MAP, ("get", *WATCH, *APPLY), "the nodes' configuration"),
    Grant(kinds.SERVICE, ("get", *WATCH, *APPLY), "names of clients and members"),
    Grant(kinds.SERVICE_ACCOUNT, ("get", *APPLY), "the identity of the pods"),
    Grant(
        kinds.CLAIM,
        (*WATCH, "patch", "delete"),
        "marks, owns and grows volumes; deletes that of a removed member",
    ),
    Grant(kinds.STATEFUL_SET, ("get", *WATCH, *APPLY), "the pods"),
    Grant(
        kinds.BUDGET,
        ("get", *WATCH, *APPLY, "delete"),
        "keeps a majority up; those of others are only read",
    ),
    Grant(
        kinds.NETWORK_POLICY,
        ("get", *WATCH, *APPLY, "delete"),
        "who may reach which port, where a spec asks for it",
    ),
    Grant(kinds.MONITOR, ("get", *APPLY, "delete"), "metrics, where Prometheus' kinds exist"),
    Grant(kinds.EVENT, ("get", "list", *APPLY), "reports, and reads why a pod is missing"),
)
"""In each watched namespace."""

LEASE_GRANTS: Final = (
    Grant(kinds.LEASE, ("create", "get", "update"), "one replica of the operator works at a time"),
)
"""In the operator's own namespace. `get` and `update` by name only."""

ALLOWED: Final = frozenset(right for grant in (*GRANTS, *LEASE_GRANTS) for right in grant.rights)


def of_request(method: str, path: str, *, watch: bool = False) -> Right:
    """Return the right that the API server asks for when it receives this request."""
    found = _PATH.match(path)
    if found is None:
        return Right("", DISCOVERY, "get")
    verb = _VERBS.get(method.upper())
    if verb is None:
        verb = "get" if found["name"] else ("watch" if watch else "list")
    sub = f"/{found['sub']}" if found["sub"] else ""
    return Right(found["group"] or "", found["plural"] + sub, verb)
