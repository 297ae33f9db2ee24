"""The AmateRS database server: one process of a replicated cluster."""

from amaters.version import __version__ as __version__
