"""How an object store is reached, and with which keys; read from files whenever they are used."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from amaters_server.model.errors import SnapshotError

ACCESS_KEY = "AWS_ACCESS_KEY_ID"
SECRET_KEY = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 - a name
SESSION_TOKEN = "AWS_SESSION_TOKEN"  # noqa: S105 - a name
ROLE_ARN = "AWS_ROLE_ARN"
TOKEN_FILE = "AWS_WEB_IDENTITY_TOKEN_FILE"  # noqa: S105 - a name
SESSION_NAME = "AWS_ROLE_SESSION_NAME"
STS_ENDPOINT = "AWS_ENDPOINT_URL_STS"
_MOST_BYTES = 16 * 1024
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class S3Settings:
    """How to reach the store; keys are never in here."""

    endpoint_url: str = ""
    """Empty: Amazon's own."""
    region: str = ""
    addressing_style: Literal["auto", "path", "virtual"] = "auto"
    server_side_encryption: Literal["", "AES256", "aws:kms"] = ""
    kms_key_id: str = ""
    """Of the key service, for `aws:kms`; empty: the bucket's own key."""
    ca_file: str = ""
    """Whom to trust for https; empty: the system's authorities."""
    credentials_dir: str = ""
    """Folder of files with the keys, named like the variables of the environment."""
    role_arn: str = ""
    """Whom to be by a token; empty: whom the environment names, when it has no keys."""
    token_file: str = ""
    """Empty: the one that the environment names."""
    sts_endpoint_url: str = ""
    """Where the token is exchanged; empty: as the environment says, or Amazon's service."""


@dataclass(frozen=True, slots=True)
class WebIdentity:
    """A role, and the file with the token that lets this process act in it."""

    role_arn: str
    token_file: str
    sts_endpoint_url: str
    """Where the token is exchanged; empty: Amazon's service of the region."""
    session_name: str


@dataclass(frozen=True, slots=True)
class S3Credentials:
    """Keys of a store; they never show in a text."""

    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        """Refuse what would show up in the errors of the libraries below."""
        keys = (self.access_key_id, self.secret_access_key)
        if not all((*keys, *(one.isascii() and one.isprintable() for one in self._all()))):
            raise SnapshotError(
                "the keys of the store are not complete, or have characters that no key has: "
                "correct them"
            )

    def _all(self) -> tuple[str, str, str]:
        return self.access_key_id, self.secret_access_key, self.session_token


@dataclass(frozen=True, slots=True)
class S3Tuning:
    """How transfers are cut up and repeated."""

    part_bytes: int = 16 * 1024 * 1024
    """Held in memory while it is uploaded; stores refuse parts below 5 MiB but for the last."""
    page_keys: int = 1000
    attempts: int = 5


def web_identity_of(settings: S3Settings, environment: Mapping[str, str]) -> WebIdentity | None:
    """Return whom to be by a token: as configured, else as Kubernetes' identity webhooks name it.

    None without a role, or when there is none configured and the environment has keys. SnapshotError
    for a role without a token.
    """
    ambient = "" if environment.get(ACCESS_KEY) else environment.get(ROLE_ARN, "")
    role = settings.role_arn or ambient
    file = settings.token_file or environment.get(TOKEN_FILE, "")
    if not role:
        return None
    if not file:
        raise SnapshotError(
            f"there is no web identity token for role {role}: set "
            f"snapshots.s3.web_identity_token_file, or {TOKEN_FILE} in the environment"
        )
    endpoint = settings.sts_endpoint_url or environment.get(STS_ENDPOINT, "")
    return WebIdentity(role, file, endpoint, environment.get(SESSION_NAME, "") or "amaters")


def identity_token(identity: WebIdentity) -> str:
    """Return the token as its file has it now: Kubernetes replaces it. SnapshotError without it."""
    token = _read(Path(identity.token_file))
    if not token or not token.isascii() or not token.isprintable():
        raise SnapshotError(
            f"the web identity token in {identity.token_file} is missing, empty or none: mount a "
            "token for the role, or set snapshots.s3.web_identity_token_file"
        )
    return token


def stored_credentials(folder: str) -> S3Credentials | None:
    """Return the keys as the files in the folder have them now, None when there are none.

    SnapshotError when only one of the two is there, or one cannot be read.
    """
    access = secret = ""
    for _ in range(_ATTEMPTS):
        # Kubernetes replaces all files of a Secret at once, by a link: they must be of one moment.
        real = (Path(folder) / ACCESS_KEY).resolve().parent
        access, secret = _read(real / ACCESS_KEY), _read(real / SECRET_KEY)
        if access and secret:
            return S3Credentials(access, secret, _read(real / SESSION_TOKEN))
        if not any((Path(folder) / name).exists() for name in (ACCESS_KEY, SECRET_KEY)):
            return None
    missing = SECRET_KEY if access else ACCESS_KEY
    raise SnapshotError(f"{missing} is missing or empty in {folder}: give both keys, or neither")


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES).decode().strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise SnapshotError(
            f"{path.name} in {path.parent} cannot be read ({type(error).__name__}): correct the file"
        ) from None
