"""`spec.podSecurity`: the users that the pods run as, and their security contexts."""

from typing import Annotated, Any, Final, Literal

from pydantic import Field, WithJsonSchema

from amaters_operator.api.members.selectors import Schema, array, struct
from amaters_operator.api.scalars import ApiModel

_ID: Final[Schema] = {"type": "integer", "format": "int64", "minimum": 0}
_FLAG: Final[Schema] = {"type": "boolean"}
_TEXT: Final[Schema] = {"type": "string", "maxLength": 253}
_PROFILE: Final = struct(
    "type",
    grows=True,
    type=({"type": "string", "enum": ["RuntimeDefault", "Localhost", "Unconfined"]}, "Which kind."),
    localhostProfile=(_TEXT, "Name of the profile on the node, with type Localhost."),
)
_SE_LINUX: Final = struct(
    grows=True,
    level=(_TEXT, "SELinux level."),
    role=(_TEXT, "SELinux role."),
    type=(_TEXT, "SELinux type."),
    user=(_TEXT, "SELinux user."),
)
_BOTH: Final = {
    "runAsUser": (_ID, "Uid of the processes."),
    "runAsGroup": (_ID, "Gid of the processes."),
    "runAsNonRoot": (_FLAG, "Refuse to run as root."),
    "seLinuxOptions": (_SE_LINUX, "SELinux context."),
    "seccompProfile": (_PROFILE, "Seccomp profile."),
    "appArmorProfile": (_PROFILE, "AppArmor profile."),
}
_POD: Final = struct(
    grows=True,
    **_BOTH,
    fsGroup=(_ID, "Gid that owns the volume."),
    fsGroupChangePolicy=(
        {"type": "string", "enum": ["OnRootMismatch", "Always"]},
        "When the owner of the volume's files is corrected.",
    ),
    supplementalGroups=(array(_ID), "Further groups of the processes."),
)
_CAPABILITIES: Final = struct(
    add=(array(_TEXT), "Capabilities to add."), drop=(array(_TEXT), "Capabilities to drop.")
)
_CONTAINER: Final = struct(
    grows=True,
    **_BOTH,
    allowPrivilegeEscalation=(_FLAG, "Let processes gain privileges."),
    privileged=(_FLAG, "Run as if on the node itself."),
    readOnlyRootFilesystem=(_FLAG, "Mount the image read-only."),
    capabilities=(_CAPABILITIES, "Capabilities of the processes."),
)

PodSecurityContext = Annotated[dict[str, Any], WithJsonSchema(_POD)]
ContainerSecurityContext = Annotated[dict[str, Any], WithJsonSchema(_CONTAINER)]


class PodSecuritySpec(ApiModel):
    """The users that the pods run as, and their security contexts. A change rolls the pods."""

    user_ids: Literal["Fixed", "Assigned"] = Field(
        default="Fixed",
        description=(
            "Fixed: uid, gid and fsGroup are 10001. Assigned: they are left out, for a platform "
            "that assigns them, such as OpenShift by restricted-v2."
        ),
    )
    pod: PodSecurityContext = Field(
        default={},
        description="Fields of the pods' securityContext, each in place of the operator's.",
    )
    container: ContainerSecurityContext = Field(
        default={},
        description="Fields of the container's securityContext, each in place of the operator's.",
    )
