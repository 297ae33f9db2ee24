"""How calls reach a server: addresses, TLS, connections and their replacement, retries."""
