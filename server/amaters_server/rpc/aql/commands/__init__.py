"""Administrative commands inside Gets: keys that begin with `__admin__:`, as published.

The answers unite what the published server sends and what the published command line expects, with
true values.
"""
