"""What asks every caller who it is and what it may do, from the configuration and its files."""

from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import NamedTuple

from amaters_server.access import roles
from amaters_server.access.access import Access
from amaters_server.access.audit import Audit, Event, EventType, MainLog, Outcome
from amaters_server.access.audit_file import AuditFile
from amaters_server.access.gate import Gate
from amaters_server.app.clock import ProcessClock
from amaters_server.app.security.logins import LoginRecord
from amaters_server.config.reloadable import ReloadReport
from amaters_server.config.security.authorization import AuditSection, AuthzSection
from amaters_server.config.settings import Settings
from amaters_server.identity.authenticator import Authenticator, Methods
from amaters_server.identity.methods import read_methods
from amaters_server.model.clock import Clock
from amaters_server.model.errors import ConfigurationError, NotAuditedError
from amaters_server.rpc.callers.callers import Callers
from amaters_server.telemetry.counters import ProtectionCounts

MIB = 1024 * 1024


class Change(NamedTuple):
    """Everything that a reload replaces, read and checked."""

    methods: Methods
    authz: AuthzSection
    roles: roles.Roles


@dataclass(frozen=True, slots=True)
class Protection:
    """The parts that all listeners of one process share."""

    authenticator: Authenticator
    gate: Gate
    audit: Audit | None
    clock: Clock

    def callers(self) -> Callers:
        """Return the callers of one more listener."""
        return Callers(self.authenticator, self.gate)

    def prepared(self, settings: Settings) -> Change:
        """Read methods and roles anew; ConfigurationError leaves everything as it was."""
        return _change(settings, self.clock, self.authenticator.methods)

    def replace(self, change: Change) -> None:
        """Use other methods, roles and permissions; every credential is verified again."""
        self.gate.access.replace(change.authz, change.roles)
        self.authenticator.replace(change.methods)

    def record_reload(self, report: ReloadReport) -> None:
        """Write into the audit log what a reload has changed, or why it has changed nothing."""
        if self.audit is None:
            return
        details = (
            ("updated", ", ".join(report.sections_updated)),
            ("skipped", ", ".join(report.sections_skipped)),
        )
        event = Event(
            EventType.CONFIG_CHANGE,
            Outcome.SUCCESS if report.success else Outcome.FAILURE,
            error="; ".join(report.errors),
            details=tuple((name, text) for name, text in details if text),
        )
        # A person's signal is carried out, whatever the audit log takes; the server's log has it.
        with suppress(NotAuditedError):
            self.audit.record(event)

    def counts(self) -> ProtectionCounts:
        """Return what was counted since the start."""
        audit = self.audit
        return ProtectionCounts(
            logins=asdict(self.authenticator.counts),
            denied=self.gate.denied,
            audit_dropped=0 if audit is None else audit.dropped,
            audit_failing=audit is not None and bool(audit.failing),
        )

    def close(self) -> None:
        """Write what the audit log still holds."""
        if self.audit is not None:
            self.audit.close()


def require_files(settings: Settings) -> None:
    """Raise ConfigurationError when files that identity and permission need cannot be used."""
    if settings.auth.enabled:
        _change(settings, ProcessClock(), None)


def protection_of(settings: Settings, clock: Clock) -> Protection | None:
    """Return it, or None where authentication is off; ConfigurationError says what is wrong."""
    if not settings.auth.enabled:
        return None
    change = _change(settings, clock, None)
    access = Access(change.authz, change.roles)
    audit = _audit(settings.authz, settings.audit)
    authenticator = Authenticator(change.methods, clock)
    authenticator.recorder = LoginRecord(access, audit)
    return Protection(authenticator, Gate(access, audit, settings.audit.record), audit, clock)


def _change(settings: Settings, clock: Clock, before: Methods | None) -> Change:
    change = Change(
        read_methods(settings.auth, clock, settings.network.tls_ca, before),
        settings.authz,
        roles.load(settings.authz.roles_file),
    )
    Access(change.authz, change.roles)  # Refuses roles that are not defined.
    return change


def _audit(authz: AuthzSection, section: AuditSection) -> Audit | None:
    if not authz.audit_enabled:
        return None
    if authz.audit_log_path is None:
        return Audit(MainLog(), on_failure="drop")
    file = AuditFile(
        authz.audit_log_path, max_bytes=section.max_size_mb * MIB, backups=section.max_backups
    )
    try:
        file.write(b"")
    except OSError as wrong:
        doing = f"the audit log {authz.audit_log_path} cannot be written"
        raise ConfigurationError.of_path(doing, wrong, "authz.audit_log_path") from wrong
    return Audit(file, on_failure=section.on_failure)
