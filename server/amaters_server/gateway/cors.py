"""Which web pages may read what the gateway answers (CORS). Pure.

A page's origin is listed, or every origin is with `*`. With `*` a browser never sends credentials of
its own, a client certificate among them; a page may still send a token that it holds itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

EVERY = "*"
METHODS = ("GET", "HEAD", "PUT", "DELETE", "POST", "OPTIONS")
REQUEST_HEADERS = (
    "accept",
    "amaters-forward",
    "amaters-read",
    "amaters-timeout-ms",
    "authorization",
    "content-type",
    "idempotency-key",
    "traceparent",
    "x-request-id",
)
"""What a page may send, beside the configured header of API keys."""
EXPOSED = ("amaters-checksum", "amaters-created-at", "retry-after", "x-request-id")
PREFLIGHT_SECONDS = 600


@dataclass(frozen=True, slots=True)
class CorsPolicy:
    """The origins that may read answers; none: no page may."""

    origins: tuple[str, ...] = ()
    api_key_header: str = "x-api-key"

    def answer(self, origin: str | None) -> dict[str, str]:
        """Return the headers of an answer to a request of that origin."""
        if not self.origins:
            return {}
        allowed = self._allowed(origin)
        if EVERY not in self.origins:
            allowed["Vary"] = "Origin"  # Also without one: caches must not mix the two up.
        if "Access-Control-Allow-Origin" in allowed:
            allowed["Access-Control-Expose-Headers"] = ", ".join(EXPOSED)
        return allowed

    def preflight(self, asked: Mapping[str, str], allowed: Sequence[str]) -> dict[str, str]:
        """Return the headers of the answer to OPTIONS; `allowed` are the methods of that path."""
        headers = {"Allow": ", ".join(allowed)}
        if not self.origins:
            return headers
        found = self.answer(asked.get("Origin"))
        granted = "Access-Control-Allow-Origin" in found
        found.pop("Access-Control-Expose-Headers", None)
        if granted and "Access-Control-Request-Method" in asked:
            found |= {
                "Access-Control-Allow-Methods": ", ".join(allowed),
                "Access-Control-Allow-Headers": ", ".join((*REQUEST_HEADERS, self.api_key_header)),
                "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
            }
        return headers | found

    def _allowed(self, origin: str | None) -> dict[str, str]:
        if EVERY in self.origins:
            return {"Access-Control-Allow-Origin": EVERY}
        if origin is None or origin not in self.origins:
            return {}
        return {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Credentials": "true",
        }
