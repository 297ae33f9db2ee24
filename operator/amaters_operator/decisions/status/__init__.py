"""What people read: the conditions and the status, made from the result of a pass. Pure."""
