"""The operator: watches AmatersCluster objects and runs the databases that they describe."""
