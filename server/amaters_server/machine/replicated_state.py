"""All state but the data: the position in the log, the members, the sessions, the counts.

Decides what each entry does; the data it changes goes into a `Workspace`.
"""

from amaters_server.machine import membership, state
from amaters_server.machine.codec import Command, DecodedEntry
from amaters_server.machine.collection_count import CollectionCounter
from amaters_server.machine.execute import Workspace
from amaters_server.machine.proposer_sequences import ProposerSequences
from amaters_server.machine.restore import RestoreStep, advance, refusal
from amaters_server.machine.sessions import Sessions, digest, put_digest
from amaters_server.machine.state import SavedState
from amaters_server.model.cluster import ConfState, Membership
from amaters_server.model.errors import MalformedError, SnapshotError
from amaters_server.model.queries import Answer, Result
from amaters_server.model.replication import Outcome, ProposalNumber
from amaters_server.storage.engine import Changes
from amaters_server.wire import command_pb2


class ReplicatedState:
    """The part of the replicated state that is held in memory."""

    def __init__(self, saved: SavedState) -> None:
        self.index = saved.index
        self.term = saved.term
        self.membership = saved.membership
        self.restoring = saved.restoring
        self.collection_count = CollectionCounter(saved.counts)
        self._proposer_sequences = ProposerSequences(saved.last_proposals)
        self._sessions = Sessions(saved.sessions)
        self._members_saved = saved.membership
        self._restoring_saved = saved.restoring

    def saved(self) -> SavedState:
        """Return all of it as a value."""
        return SavedState(
            self.index,
            self.term,
            self.membership,
            self._proposer_sequences.all(),
            self._sessions.all(),
            self.restoring,
            self.collection_count.counts(),
        )

    def newest_proposals(self) -> dict[int, ProposalNumber]:
        """Return the number of the last applied proposal of every member."""
        return self._proposer_sequences.newest()

    def save(self, changes: Changes) -> None:
        """Add what changed since the last call."""
        self.save_counts(changes)
        state.save_last_proposals(changes, self._proposer_sequences.take_changed())
        state.save_sessions(changes, self._sessions.take_changed())
        if self.membership is not None and self.membership is not self._members_saved:
            state.save_membership(changes, self.membership)
            self._members_saved = self.membership
        if self.restoring is not self._restoring_saved:
            state.save_restoring(changes, self.restoring)
            self._restoring_saved = self.restoring

    def save_counts(self, changes: Changes) -> None:
        """Add the position with the counts that belong to it, as far as they changed."""
        count = self.collection_count
        state.save_position(changes, self.index, self.term, counted=count.complete)
        if count.complete:
            replace, counts = count.take_changed()
            state.save_counts(changes, counts, replace=replace)

    def carries_out(self, entry: DecodedEntry, command: Command) -> bool:
        """Whether applying the entry with that one command would carry it out."""
        known = command.session and self._sessions.knows(command.session, command.session_sequence)
        late = self._proposer_sequences.is_late(entry.proposal)
        return self.restoring is None and not late and not known

    def apply_commands(
        self,
        entry: DecodedEntry,
        data: bytes,
        workspace: Workspace,
        evaluated: Answer | None = None,
    ) -> Outcome:
        """Apply the entry's commands, unless a later one of its origin was applied.

        `evaluated` is the answer of its one command if that was carried out in slices.
        """
        if not self._proposer_sequences.accept(entry.proposal):
            return Outcome(*entry.proposal, results=[], entry=data, skipped=True)
        results: list[Answer]
        if self.restoring is None and entry.only_sound_puts:
            results = self._put_all(entry, workspace.batch)
        else:
            results = [self._answer(one, workspace, evaluated) for one in entry.in_order()]
        return Outcome(*entry.proposal, results=results, entry=data)

    def apply_membership(self, record: command_pb2.MemberRecord, conf_state: ConfState) -> None:
        """Apply the new configuration, and the record of one member."""
        before = self.membership or Membership(cluster_id="")
        self.membership = membership.changed(before, record, conf_state)

    def _put_all(self, entry: DecodedEntry, batch: dict[bytes, bytes | None]) -> list[Answer]:
        """Apply lone puts as `_answer` would, at a fraction of the cost."""
        puts = zip(entry.put_keys, entry.put_values, strict=True)
        if not entry.put_sessions:
            batch.update(puts)
            return [[1] for _ in entry.put_keys]
        results: list[Answer] = []
        recall, remember = self._sessions.recall, self._sessions.remember
        for (key, value), (session, sequence) in zip(puts, entry.put_sessions, strict=True):
            content = put_digest(key, value) if session else 0
            answer = recall(session, sequence, content) if session else None
            if answer is None:
                batch[key] = value
                answer = [1]
                if session:
                    remember(session, sequence, answer, content)
            results.append(answer)
        return results

    def _answer(
        self,
        command: Command | MalformedError,
        workspace: Workspace,
        evaluated: Answer | None,
    ) -> Answer:
        if isinstance(command, MalformedError):
            return command
        session, sequence = command.session, command.session_sequence
        if not session:
            return self._carry_out(command, workspace, evaluated)
        content = digest(command.operations)
        count = len(command.operations)
        known = self._sessions.recall(session, sequence, content, count=count)
        if known is not None:
            return known
        answer = self._carry_out(command, workspace, evaluated)
        if isinstance(answer, list):
            self._sessions.remember(session, sequence, answer, content)
        return answer

    def _carry_out(
        self, command: Command, workspace: Workspace, evaluated: Answer | None
    ) -> Answer:
        if command.restore is not None:
            return self._restore(command.restore, workspace)
        if self.restoring is not None:
            return refusal(self.restoring)
        if evaluated is not None:
            return evaluated
        return workspace.run(command.operations)

    def _restore(self, step: RestoreStep, workspace: Workspace) -> list[Result] | SnapshotError:
        try:
            advanced = advance(self.restoring, step)
        except SnapshotError as refused:
            return refused
        if advanced.clear:
            workspace.clear()
        workspace.run(advanced.records)
        self.restoring = advanced.restoring
        return [len(advanced.records)]
