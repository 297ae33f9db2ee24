"""The composition root: the command line, who is built from what, and the order of start and stop."""
