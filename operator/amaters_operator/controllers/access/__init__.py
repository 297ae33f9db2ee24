"""AmatersAccess objects: what a cluster's nodes are to load of them, and what each reports."""
