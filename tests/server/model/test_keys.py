"""Data keys, and what callers' names of collections cost."""

import tracemalloc

from amaters_server.model.keys import collection_prefix, data_key, split_data_key


def test_names_of_collections_chosen_by_callers_take_no_memory_that_stays():
    """4,096 names of 64 KB each were half a gigabyte for ever, whoever sent them."""
    tracemalloc.start()
    for number in range(200):
        collection_prefix(f"{number:03d}" + "x" * 65_000)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert kept < 1_000_000


def test_usual_names_are_encoded_once():
    assert collection_prefix("orders") is collection_prefix("orders")
    assert split_data_key(data_key("orders", b"\xff")) == ("orders", b"\xff")
