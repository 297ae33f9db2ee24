"""Property tests everywhere: no example is held against a clock, for a busy machine has none."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
