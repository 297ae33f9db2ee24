"""A cluster as the object describes it: read, judged, and compared with a goal. Pure."""
