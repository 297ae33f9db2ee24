"""Why an update, or a filter among writes, is not carried out; `errors` has the tree."""

from amaters_server.model.errors import DatabaseError, InvalidRequestError


class UpdateTooLargeError(InvalidRequestError):
    """The update, or a filter among writes, would touch more than one may; nothing was changed."""

    code = "update_too_large"

    def __init__(self, what: str, *, limit: int, key: str) -> None:
        super().__init__(
            f"{what} is more than {limit}: nothing was changed; divide the collection, set its values "
            f"in batches, or raise resource_limits.{key}"
        )


class ComputeError(InvalidRequestError):
    """The values are of a kind that the server does not compute with; nothing was changed."""

    code = "compute_unsupported"


class MembersTooOldError(DatabaseError):
    """A member runs a version that could not apply the write; nothing was changed."""

    code = "members_too_old"

    def __init__(self, *, member: int, version: str) -> None:
        super().__init__(
            f"member {member} runs version {version or 'unknown'}, which knows no updates and no "
            "filters among writes: bring all members to this version, then retry; nothing was changed"
        )
