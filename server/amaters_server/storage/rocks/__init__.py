"""The engine on disk: RocksDB. Only this folder knows `rocksdict`."""
