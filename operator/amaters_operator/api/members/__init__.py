"""The members of a cluster as the spec describes them: storage, scheduling, networks, rolls."""
