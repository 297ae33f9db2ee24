"""From settings to the objects of one server."""
