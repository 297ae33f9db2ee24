"""The one place that says which version this is; server, operator and images read it here."""

__version__ = "0.3.0"
