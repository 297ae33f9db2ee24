"""The running operator: the Lease, the watches, the work queues, health and logs."""
