"""A Kubernetes and databases in memory, for tests of whole reconciles.

`World` holds the state and lets time pass; `FakeKube` and `FakeDatabase` are what the operator sees
of it. Both can kill the operator before or after any call that changes something.
"""

from amaters_operator.testing.crash_points import CrashPoints as CrashPoints
from amaters_operator.testing.crash_points import Killed as Killed
from amaters_operator.testing.database import FakeDatabase as FakeDatabase
from amaters_operator.testing.driver import Driver as Driver
from amaters_operator.testing.driver import InvariantError as InvariantError
from amaters_operator.testing.kube import FakeKube as FakeKube
from amaters_operator.testing.world import World as World
