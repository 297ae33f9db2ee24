"""From changes to RocksDB's write batches."""

from collections.abc import Mapping

from rocksdict import ColumnFamily, WriteBatch, WriteOptions

from amaters_server.storage.engine import Changes, Space


def batch_of(changes: Changes, handles: Mapping[Space, ColumnFamily]) -> WriteBatch:
    """Return the changes as one batch, in their order."""
    batch = WriteBatch(raw_mode=True)
    for space, start, end in changes.cleared:
        if start < end:
            batch.delete_range(start, end, handles[space])
    put, delete = batch.put, batch.delete
    for space, key, value in changes.operations:
        if value is None:
            delete(key, handles[space])
        else:
            put(key, value, handles[space])
    return batch


def never_waiting() -> WriteOptions:
    """Return options with which a write fails while compaction lags behind, instead of waiting."""
    options = WriteOptions()
    options.no_slowdown = True
    return options
