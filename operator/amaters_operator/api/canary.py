"""`status.canary`: the last good revision, and how the first pod does on a newer one."""

from pydantic import Field

from amaters_operator.api.scalars import ApiModel, Timestamp


class GoodRevision(ApiModel):
    """What every pod ran well on last."""

    revision: str = Field(description="Revision of the StatefulSet.")
    fingerprint: str = Field(description="Hash of what the spec asked of the pods.")
    template: str = Field(
        default="",
        description="Its pod template, as JSON: it outlives the StatefulSet and its history.",
    )
    settings: str = Field(
        default="", description="Settings of the nodes' configuration file, as JSON."
    )
    image: str = Field(default="", description="Image of the pods.")


class CanaryStatus(ApiModel):
    """Which revisions are good, tried, and refused. A fingerprint is a hash of a pod template."""

    good: GoodRevision | None = Field(
        default=None, description="The last good revision; pods return to it."
    )
    trying: str = Field(default="", description="Fingerprint that a first pod is to prove.")
    since: Timestamp | None = Field(default=None, description="Since when that is tried.")
    pod: str = Field(default="", description="The pod that proves it.")
    uid: str = Field(default="", description="Uid of that pod.")
    revision: str = Field(default="", description="Revision of that pod.")
    loaded: bool = Field(default=False, description="Its node has read the new configuration file.")
    proven: bool = Field(default=False, description="It has been well once.")
    baking_since: Timestamp | None = Field(
        default=None, description="Since when it has been well without interruption."
    )
    doubt: str = Field(default="", description="What is wrong with it now.")
    doubt_since: Timestamp | None = Field(default=None, description="Since when.")
    lost: int = Field(
        default=0, description="How often that pod was deleted by others before it had baked."
    )
    failed: str = Field(default="", description="Fingerprint that failed: it is not tried again.")
    reason: str = Field(default="", description="Why it failed.")
