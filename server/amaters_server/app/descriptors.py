"""What the process may open: connections and the database's files share one limit.

A node that cannot open the next file of its database fails, until it is restarted. The usual soft
limit of 1024 is less than `server.max_connections` and those files together.
"""

import logging
import resource

_log = logging.getLogger(__name__)

KEPT_FOR_FILES = 512
"""Descriptors for the database, members, administrators and probes."""


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
