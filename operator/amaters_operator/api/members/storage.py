"""`spec.storage`: the volume of each member."""

from typing import Literal

from pydantic import ConfigDict, Field

from amaters_operator.api.scalars import ApiModel, ByteAmount, Duration, ObjectName, rule, rules


class StorageSpec(ApiModel):
    """The volume of each member."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.className) == has(oldSelf.className) && "
                "(!has(self.className) || self.className == oldSelf.className)",
                "storage.className is immutable: create a second cluster and restore a backup "
                "into it to change the class",
            ),
        )
    )

    size: ByteAmount = Field(
        default="10Gi",
        description="Size of each member's volume. May grow later when its class allows expansion.",
    )
    class_name: ObjectName | None = Field(
        default=None,
        description="StorageClass of the volumes; the namespace's default when not set. Immutable.",
    )
    when_deleted: Literal["Retain", "Delete"] = Field(
        default="Retain",
        description=(
            "What happens to the volumes when the AmatersCluster is deleted. Retain keeps them: "
            "a cluster created again under the same name and size finds its data."
        ),
    )
    when_scaled: Literal["Delete", "Retain"] = Field(
        default="Delete",
        description=(
            "What happens to the volume of a member that was scaled away. Delete: the operator "
            "deletes its claim once the member's removal is committed and the quarantine is over. "
            "Retain: it is kept until a person deletes the claim. Scaling the StatefulSet by hand "
            "deletes nothing."
        ),
    )
    quarantine: Duration = Field(
        default="72h",
        description=(
            "How long the volume of a removed member is kept before the operator deletes it, such "
            "as 72h; see status.quarantine. The annotation amaters.io/undelete=true on its claim "
            "keeps it for good. A change counts for members removed later."
        ),
    )
