"""How an empty disk finds or founds its cluster, and how a replica is opened."""
