"""The section `[cache]`: answers of Filter and Range that are kept in memory."""

from pydantic import Field

from amaters_server.config.sections import Positive, Section


class CacheSection(Section):
    """Answers of Filter, and of Range above 100 rows, while nothing in their range changes."""

    enabled: bool = Field(
        default=False,
        description="Keep answers. It pays where the same questions are asked again between "
        "writes to their collection; see docs/performance.md.",
    )
    max_entries: Positive = Field(default=65_536, description="Most answers kept.")
    max_mb: Positive = Field(default=64, description="Megabytes of answers kept.")
