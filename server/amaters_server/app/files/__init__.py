"""What one process keeps on its disk: the folder of the engine, the pid file, private modes."""
