"""One observation of a cluster, through Kubernetes and the database. Changes nothing."""
