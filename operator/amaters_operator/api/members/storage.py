"""`spec.storage`: the volume of each member."""

from typing import Literal

from pydantic import ConfigDict, Field

from amaters_operator.api.scalars import (
    ApiModel,
    ByteAmount,
    Duration,
    Increase,
    ObjectName,
    Share,
    rule,
    rules,
)


class AutoGrowSpec(ApiModel):
    """When the volumes grow by themselves, and how far."""

    below: Share = Field(
        default="20%",
        description="All volumes grow once less than this share of one of them is free.",
    )
    by: Increase = Field(default="50%", description="By how much of their size they grow.")
    max: ByteAmount = Field(description="They never grow beyond this size.")


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
            rule(
                "!has(self.autoGrow) || !has(self.autoGrow.max) || "
                "quantity(self.autoGrow.max).compareTo(quantity(self.size)) >= 0",
                "storage.autoGrow.max is below storage.size: raise autoGrow.max",
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
    auto_grow: AutoGrowSpec | None = Field(
        default=None,
        description=(
            "Let the operator grow the volumes before they are full. storage.size stays as it is: "
            "see status.autoGrow. The class must allow expansion."
        ),
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
