"""How a disk gets its place: discovery, founding a cluster, and opening the replica."""
