"""The service between members: its methods, its listener, and the connections to other members."""
