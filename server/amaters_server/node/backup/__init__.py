"""Backups of the data that leave the cluster, and restoring them through the log."""
