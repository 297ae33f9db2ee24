"""From the credentials of a call to a `Principal`.

`connection` knows who called last over it. `credentials` takes them from the metadata;
`authenticator` finds whom they were verified for already, or has them checked: `tokens` (JWT, with
that of a pod a special case), `api_keys` and `certificates`. `methods` reads the configuration.
What is allowed to a principal is decided elsewhere.
"""
