"""A person with bad luck: seeded edits, deletions and losses; no write is lost, and it ends well.

`make soak` plays 500 seeds. AMATERS_BAD_LUCK_SEED=7 plays one alone.
"""

import os
import re

import pytest
from amaters_operator.decisions.actions import DeleteClaim, ForceDeletePod, RemoveMember
from amaters_operator.decisions.membership import replace as replacement
from amaters_operator.decisions.membership import scale
from amaters_operator.decisions.rolls import upgrade
from amaters_operator.testing.certificates import Authority
from amaters_operator.testing.luck.misfortunes import SECRET, BadLuck
from amaters_operator.testing.luck.witness import BrokenPromiseError

pytestmark = pytest.mark.slow

SEEDS = int(os.environ.get("AMATERS_BAD_LUCK_SEEDS", "30"))
ONLY = os.environ.get("AMATERS_BAD_LUCK_SEED")
REMEDY = re.compile(r"`kubectl [^`]+`|by hand|spec\.[a-zA-Z.]+|[Uu]ncordon|bring [a-z ]+ back")


@pytest.fixture(scope="module")
def tls():
    return Authority().issue().secret("shop", SECRET)


def told(luck: BadLuck) -> str:
    """Return everything that the conditions say of what is wrong."""
    wrong = {"Ready": "False", "Degraded": "True", "Stalled": "True", "Reconciling": "True"}
    found = luck.driver.world.cluster().status.conditions
    return "\n".join(one.message for one in found if wrong.get(one.type) == one.status)


@pytest.mark.parametrize("seed", [int(ONLY)] if ONLY else range(SEEDS))
def test_it_ends_as_desired_or_says_what_to_do(seed: int, tls) -> None:
    luck = BadLuck(seed, tls if seed % 4 == 0 else None)
    try:
        luck.happens(12)
        luck.better()
        ended = luck.ends()
    except AssertionError:
        print(f"seed {seed}:\n" + "\n".join(luck.done))
        raise
    if not ended:
        print(f"seed {seed}:\n" + "\n".join(luck.done) + "\n" + told(luck))
        assert REMEDY.search(told(luck))
    assert luck.witness.acknowledged > 10


def is_noticed(said: str, seeds: range) -> bool:
    """Whether some seed ends with a check that says this; another check may be the first."""
    for seed in seeds:
        try:
            luck = BadLuck(seed)
            luck.happens(12)
            luck.better()
            luck.ends(within=40)
        except AssertionError as broken:
            print(f"seed {seed}: {broken}")
            if said in str(broken):
                return True
    return False


def without_obstacles(patch: pytest.MonkeyPatch) -> None:
    """Healthy pods are replaced whatever the others do."""
    patch.setattr(upgrade, "_obstacles", lambda *_, **__: iter(()))


def without_proof(patch: pytest.MonkeyPatch) -> None:
    """A pod that is away is taken for one whose member is out."""

    def careless(cluster, observed, claims):
        for pod in observed.pods:
            if replacement.why_lost(observed, pod) and pod.terminating:
                return ForceDeletePod(pod.name, pod.uid, "it is away")
        return None

    patch.setattr(replacement, "next_step", careless)


def by_number(patch: pytest.MonkeyPatch) -> None:
    """A claim is deleted because its pod's number is too high, before its member is removed."""

    def careless(wanted, observed, *, claims=(), keep_claims=False):
        for claim in claims:
            if claim.ordinal >= wanted and not claim.terminating:
                return DeleteClaim(claim.name, claim.uid, claim.ordinal, "too many")
        return None

    patch.setattr(scale, "next_change", careless)


def the_wrong_one(patch: pytest.MonkeyPatch) -> None:
    """A member is removed because the pod of another is away."""

    def careless(cluster, observed, claims):
        away = [one for one in observed.voters if not observed.participates(one)]
        here = [one for one in observed.voters if observed.participates(one) and not one.leader]
        if away and here:
            return RemoveMember(here[-1].id, here[-1].ordinal, "not ready")
        return None

    patch.setattr(replacement, "next_step", careless)


@pytest.mark.parametrize(
    ("mutant", "said"),
    [
        (without_obstacles, "was evicted while members"),
        (without_proof, "was deleted by force"),
        (by_number, "is deleted, and its disk is that of"),
        (the_wrong_one, "was removed"),
    ],
)
def test_a_careless_operator_breaks_a_promise(mutant, said, monkeypatch) -> None:
    mutant(monkeypatch)
    assert is_noticed(said, range(100, 140))


def test_a_lost_write_is_noticed() -> None:
    luck = BadLuck(1)
    assert luck.witness.write()
    for disk in luck.driver.world.disks.values():
        disk.index = 0
    with pytest.raises(BrokenPromiseError, match="was acknowledged"):
        luck.witness.check()
