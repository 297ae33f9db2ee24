"""`spec.service`: how clients and others reach the members."""

from typing import Literal

from pydantic import Field

from amaters_operator.api.members.labels import Annotations
from amaters_operator.api.scalars import ApiModel


class ServiceSpec(ApiModel):
    """The Service that clients use."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = Field(
        default="ClusterIP", description="How the client Service is reached."
    )
    annotations: Annotations = Field(
        default={}, description="Annotations for the client Service, such as a load balancer's."
    )
