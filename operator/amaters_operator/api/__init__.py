"""The `AmatersCluster` resource: what people write, what they read back, and its schema."""

from amaters_operator.api.cluster import API_VERSION as API_VERSION
from amaters_operator.api.cluster import GROUP as GROUP
from amaters_operator.api.cluster import KIND as KIND
from amaters_operator.api.cluster import PLURAL as PLURAL
from amaters_operator.api.cluster import VERSION as VERSION
from amaters_operator.api.cluster import AmatersCluster as AmatersCluster
from amaters_operator.api.cluster import Metadata as Metadata
from amaters_operator.api.spec import ClusterSpec as ClusterSpec
from amaters_operator.api.status import ClusterStatus as ClusterStatus
