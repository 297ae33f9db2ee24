"""`spec.healing`: what happens to a member whose node stays away."""

from pydantic import Field

from amaters_operator.api.scalars import ApiModel, DurationOrNever


class HealingSpec(ApiModel):
    """When a member that does not come back is replaced."""

    replace_after: DurationOrNever = Field(
        default="30m",
        description=(
            "How long a member may be away before a new one takes its place, such as 30m, or never. "
            "It counts while the leader has no contact with the member and its node does not answer "
            "Kubernetes, its volume cannot be reached, or its disk is damaged. The member is removed "
            "only while a majority of the others takes part, and one at a time. What its volume "
            "holds is not used again. The claim of a volume that cannot be reached or is damaged is "
            "deleted without quarantine; with storage.whenScaled: Retain a person deletes it."
        ),
    )
