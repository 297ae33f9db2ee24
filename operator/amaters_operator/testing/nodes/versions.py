"""Which versions the nodes of a world run, and which of them work together."""

from amaters.admin.cluster import IncompatibleMember

from amaters_operator.testing.world import World

VERSION = "0.3.0"
"""Of every node whose image is not among the world's misfits."""


def incompatible(world: World, ordinal: int) -> tuple[IncompatibleMember, ...]:
    """Return the members that a node keeps out, or that keep it out."""
    out = world.misfit(ordinal)
    return tuple(
        IncompatibleMember(one.id, theirs or VERSION, "they do not fit", "correct it", world.now)
        for one in world.members.values()
        if one.ordinal != ordinal and (theirs := world.misfit(one.ordinal)) != out
    )
