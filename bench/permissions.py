"""What identity and roles cost: one node that asks its callers beside one that asks nobody.

Both run at the same time and are measured in turn, so that the ratio of a round is of one moment.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from amaters_server.testing.tokens import Signer

from bench import throughput
from bench.dialects import Aql, Load
from bench.effort import Effort
from bench.nodes import AmatersNodes
from bench.report import Figures, Report
from bench.throughput_tables import Entry, Sample, figures

SECRET = "a secret of thirty-two bytes, so."
TOKEN_SECONDS = 24 * 3600
CALLERS = (50, 200)
FEWEST_ROUNDS = 5
"""The ratio of two runs on a shared machine needs more of them than a rate does."""
ROLES = """
[[roles]]
name = "writer"
permissions = [{ resource = "collection:bench", actions = ["write"], key_prefixes = ["bench/"] }]
"""


async def run(effort: Effort, folder: Path, say: Callable[[str], None]) -> Report:
    """Measure Set and Get with and without a token, roles with key prefixes, and an audit log."""
    effort = dataclasses.replace(effort, rounds=max(effort.rounds, FEWEST_ROUNDS))
    everybody = AmatersNodes(folder / "everybody", 1)
    asked = AmatersNodes(folder / "asked", 1, _tables(folder), Aql(_token()))
    everybody.name, asked.name = "AmateRS, everybody", "AmateRS, token and roles"
    loads = [(load, callers) for load in (Load.SET, Load.GET) for callers in CALLERS]
    samples = await throughput.sampled((everybody, asked), loads, effort, folder, say)
    return Report(
        scenario="permissions",
        tables=(_ratios(samples, everybody.name, asked.name), *figures(samples)),
        notes=("Ratios are medians of those of the rounds: with token and roles by without.",),
        raw=throughput.raw(samples),
    )


def _token() -> str:
    claims = {"sub": "bench", "exp": int(time.time()) + TOKEN_SECONDS, "roles": ["writer"]}
    return Signer("HS256", SECRET.encode()).token(claims)


def _tables(folder: Path) -> dict[str, dict[str, object]]:
    roles = folder / "roles.toml"
    roles.write_text(ROLES)
    return {
        "auth": {
            "enabled": True,
            "methods": ["jwt"],
            "jwt": {"enabled": True, "secret": SECRET},
        },
        "authz": {
            "default_role": "writer",
            "roles_file": str(roles),
            "audit_log_path": str(folder / "audit.jsonl"),
        },
    }


def _ratios(samples: Mapping[Entry, Sequence[Sample]], without: str, asked: str) -> Figures:
    rows = []
    for entry, taken in samples.items():
        if entry.target == asked:
            pairs = list(
                zip(samples[dataclasses.replace(entry, target=without)], taken, strict=True)
            )
            rates = [two.measured.rate / one.measured.rate for one, two in pairs]
            used = [two.cpu_us - one.cpu_us for one, two in pairs]
            rows.append(
                (
                    f"{entry.load.value}, {entry.callers} callers",
                    f"{statistics.median(rates):.3f}",
                    f"{min(rates):.3f} to {max(rates):.3f}",
                    f"{statistics.median(used):+.1f}",
                )
            )
    columns = ("what", "rate, ratio", "of the rounds", "more CPU µs/call")
    return Figures("Token and roles", columns, tuple(rows))
