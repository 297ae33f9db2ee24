"""The `AmatersCluster` resource: what people write and what they read back."""
