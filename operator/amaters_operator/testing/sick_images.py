"""Images whose nodes start well and fail after a while, as bad releases do."""

from dataclasses import dataclass, field
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Symptoms:
    """What is wrong with a node."""

    unready: bool = False
    """Its pod is not ready, though its member takes part."""
    out: bool = False
    """Its member takes no part, though its process answers."""
    restarts: int = 0
    lag: int = 0
    """By how many log entries it stays behind."""


@dataclass(frozen=True, slots=True)
class SickImage:
    """An image, and how its nodes fail."""

    begins: timedelta = timedelta(0)
    symptoms: Symptoms = field(default_factory=Symptoms)
    ends: timedelta = timedelta.max
    """The age from which on it is well: a node that takes long to start."""

    def after(self, age: timedelta) -> Symptoms:
        """Return what is wrong with a node of that age."""
        return self.symptoms if self.begins <= age < self.ends else Symptoms()


WELL = SickImage()
