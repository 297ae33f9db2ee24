"""Which addresses the members listen on, and who may connect to them. Pure."""
