"""The limit of open files, shared by connections and the database's files.

A node that cannot open the next file of its database fails, until it is restarted; one that cannot
take another connection of the kubelet is restarted. The usual soft limit of 1024 is less than
`server.max_connections` and those files together.
"""

import logging
import resource
from dataclasses import dataclass

_log = logging.getLogger(__name__)

KEPT_FOR_FILES = 512
"""Descriptors for the database, members, administrators and probes."""
MOST_KEPT = 1024
MOST_PAGES = 256


@dataclass(frozen=True, slots=True)
class Shares:
    """The shares of the descriptor table; a new descriptor is always the lowest free number."""

    clients: int
    """Their connections are refused from this number on; 0 is no limit."""
    members: int
    """The same for members and administrators, so that no client takes their place."""
    pages: int
    """Connections for health and metrics. What is left then is for files."""


def shares(limit: int) -> Shares:
    """Divide a table of that size."""
    if limit == resource.RLIM_INFINITY:
        return Shares(0, 0, MOST_PAGES)
    kept = min(MOST_KEPT, limit // 4)
    clients = limit - kept
    return Shares(
        clients=clients,
        members=limit - kept * 3 // 4,
        pages=min(MOST_PAGES, max(1, kept // 4)),
    )


def present() -> Shares:
    """Divide the table that this process has."""
    return shares(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def raise_limit(connections: int) -> None:
    """Take all descriptors that are granted; warn when so many connections could use them up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError) as refused:
            _log.warning("process.limit_kept", extra={"reason": str(refused)})
    wanted = connections + KEPT_FOR_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        _log.warning(
            "process.few_descriptors",
            extra={
                "limit": soft,
                "wanted": wanted,
                "reason": "server.max_connections could leave the database no file to open: "
                "raise the limit of open files (ulimit -n), or lower server.max_connections",
            },
        )
