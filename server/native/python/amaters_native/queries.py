"""The usual queries out of many requests at once (see queries.pyi for the promises)."""

from typing import TypeAlias

from amaters_native._native import QueryReader

__all__ = ["DELETE", "GET", "SET", "Columns", "Lone", "QueryReader"]

GET, SET, DELETE = 1, 2, 3

Lone: TypeAlias = tuple[int, bytes, bytes | None, str | None, int]
Columns: TypeAlias = tuple[list[bytes], list[bytes | None] | None, str | None, int]
