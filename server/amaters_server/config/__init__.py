"""The configuration: what may be set, where it comes from, what is wrong with it, what a reload may change."""
