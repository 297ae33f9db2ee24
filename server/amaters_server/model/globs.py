"""Patterns of names with `*`."""


def matches(pattern: str, name: str) -> bool:
    """Whether the name is of the pattern, in which `*` is any run of characters.

    The time is linear in the name: callers choose names, and a regular expression would backtrack.
    """
    first, *others = pattern.split("*")
    if not others:
        return name == pattern
    last = others.pop()
    if not name.startswith(first) or not name.endswith(last):
        return False
    at, end = len(first), len(name) - len(last)
    for part in others:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return at <= end
