"""One look at a cluster: pods by Kubernetes, nodes and members by the database. Changes nothing."""
