"""The language of the product: frozen values, no third-party imports, no I/O."""
