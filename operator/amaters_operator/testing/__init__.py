"""A Kubernetes and databases that exist only in memory, for tests of whole reconciles.

`World` holds the truth and moves it on; `FakeKube` and `FakeDatabase` are what the operator sees
of it. Both can be told to die before or after any call that changes something.
"""

from amaters_operator.testing.database import FakeDatabase as FakeDatabase
from amaters_operator.testing.driver import BrokenPromiseError as BrokenPromiseError
from amaters_operator.testing.driver import Driver as Driver
from amaters_operator.testing.kube import FakeKube as FakeKube
from amaters_operator.testing.strikes import Killed as Killed
from amaters_operator.testing.strikes import Strikes as Strikes
from amaters_operator.testing.world import World as World
