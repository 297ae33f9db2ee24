"""The layout that AmateRS itself writes for BACKUP: `meta.bin` and `manifest.bin` in one folder."""
