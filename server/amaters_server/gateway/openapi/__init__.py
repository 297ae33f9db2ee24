"""The gateway's endpoints, described for programs and people."""
