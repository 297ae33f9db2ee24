"""The admin service of one member: the cluster, its backups, its observations."""
