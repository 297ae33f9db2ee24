"""Places that backups are uploaded to."""
