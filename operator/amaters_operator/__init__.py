"""The operator: watches AmatersCluster objects and looks after the databases they ask for."""
