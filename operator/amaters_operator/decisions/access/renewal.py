"""When the key of a user is replaced, in steps of one write each. Pure.

1. It has the age of `renewAfter`: the Secret gets another key beside it, which nodes learn of.
2. Every node knows it: it becomes the key, so that nobody reads a key that a node refuses. The one
   before works for the time of `overlap`.
3. That time is over: its hash goes.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from amaters_operator.api.access import UserSpec
from amaters_operator.api.scalars import duration
from amaters_operator.manifests.access_secret import Keys, digest_of


def next_keys(
    user: UserSpec, keys: Keys | None, now: datetime, *, loaded: bool, new_key: Callable[[], str]
) -> Keys:
    """Return what the Secret has to hold from now on; what it holds when nothing is due.

    `loaded` says that every node knows the keys that it holds.
    """
    if keys is None:
        return Keys(new_key(), now)
    if keys.previous_ends is not None and keys.previous_ends <= now:
        keys = replace(keys, previous="", previous_ends=None)
    if keys.following and loaded:
        ends = now + duration(user.overlap)
        return Keys(keys.following, now, "", digest_of(keys.current), ends)
    if not keys.following and not keys.previous and renews_at(user, keys) <= now:
        return replace(keys, following=new_key())
    return keys


def due(user: UserSpec, keys: Keys) -> datetime:
    """Return when the Secret has to change next, if nothing but time goes by."""
    return keys.previous_ends or renews_at(user, keys)


def renews_at(user: UserSpec, keys: Keys) -> datetime:
    """Return when the key is due to be replaced."""
    return keys.issued + duration(user.renew_after)
