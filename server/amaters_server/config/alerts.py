"""The section about alerts: their thresholds, and the webhook."""

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator

from amaters_server.config.sections import Count, Positive, Section


class AlertsSection(Section):
    """Alerts of this node: a leader reports members, a voter without a leader the lost quorum."""

    enabled: bool = Field(default=True, description="Whether this node fires alerts.")
    node_failed_after_ms: Count = Field(
        default=0,
        description="Milliseconds of silence after which a member has failed; 0: three heartbeats, "
        "the longest election timeout, and 300 (1000 with the default timings).",
    )
    planned_stop_secs: Count = Field(
        default=120,
        description="Seconds a member may be away after it announced its stop (SIGTERM).",
    )
    start_secs: Count = Field(
        default=30,
        description="Seconds after this node's start in which a member that never answered, and "
        "a quorum that never existed, fire no alert.",
    )
    slow_replication_entries: Positive = Field(
        default=1000, description="Log entries a voter must lack to be slow."
    )
    slow_replication_secs: Count = Field(
        default=10, description="Seconds it must lack them without a break."
    )
    dedup_window_secs: Count = Field(
        default=300,
        description="Seconds in which one rule fires once for one key; what still lasts then "
        "fires again.",
    )
    webhook_url: SecretStr | None = Field(
        default=None,
        description="`http(s)://` address that every alert is posted to as JSON. It is taken for a "
        "secret: never logged, never shown.",
    )
    webhook_url_file: Path | None = Field(
        default=None,
        description="File that holds the address, instead of `webhook_url`. Read for each attempt: "
        "what is corrected in it takes effect by itself.",
    )
    webhook_token_file: Path | None = Field(
        default=None,
        description="File with a token to send along as `Authorization: Bearer`; read for each attempt.",
    )
    webhook_timeout_ms: Positive = Field(
        default=5000, description="Milliseconds one attempt to post may take."
    )
    webhook_attempts: Positive = Field(
        default=5, description="Attempts until an alert is dropped, and logged as dropped."
    )

    @field_validator("webhook_url")
    @classmethod
    def _is_http(cls, url: SecretStr | None) -> SecretStr | None:
        plain = "" if url is None else url.get_secret_value()
        if plain and not plain.startswith(("http://", "https://")):
            raise ValueError("Invalid webhook URL: use one that begins with http:// or https://")
        return url if plain else None

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if self.webhook_url is not None and self.webhook_url_file is not None:
            raise ValueError(
                "webhook_url and webhook_url_file exclude each other: remove one of them"
            )
        return self
