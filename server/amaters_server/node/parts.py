"""What all parts of a node work with, as one value that is handed through their constructors."""

from dataclasses import dataclass

from amaters_server.machine.machine import Machine
from amaters_server.model.clock import Clock
from amaters_server.node.ports import AnswerRoom, PeerTransport, Permit
from amaters_server.node.settings import NodeSettings
from amaters_server.node.values import Counters
from amaters_server.storage.engine import Engine
from amaters_server.telemetry.tracing.proposals import ProposalTraces


@dataclass(frozen=True, slots=True)
class Parts:
    """Settings, resources and counters of one node."""

    settings: NodeSettings
    engine: Engine
    machine: Machine
    transport: PeerTransport
    clock: Clock
    counters: Counters
    answers: AnswerRoom
    permit: Permit
    traces: ProposalTraces | None = None
    """Absent where nothing is traced."""
