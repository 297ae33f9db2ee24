"""The use cases of one node, and the asyncio shell around the sans-I/O parts that carry them."""
