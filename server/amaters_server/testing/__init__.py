"""Test kits that ship with the server: a simulated cluster, its history checker, certificates."""
