"""A Kubernetes and databases that exist only in memory, for tests of whole reconciles.

`World` holds the truth and moves it on; `FakeKube` and `FakeDatabase` are what the operator sees
of it. Both can be told to die before or after any call that changes something.
"""

from amaters_operator.testing.crash_points import CrashPoints as CrashPoints
from amaters_operator.testing.crash_points import Killed as Killed
from amaters_operator.testing.database import FakeDatabase as FakeDatabase
from amaters_operator.testing.driver import Driver as Driver
from amaters_operator.testing.driver import InvariantError as InvariantError
from amaters_operator.testing.kube import FakeKube as FakeKube
from amaters_operator.testing.world import World as World
