"""Files of encryption keys."""
