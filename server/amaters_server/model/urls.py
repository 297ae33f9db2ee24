"""Addresses as they may be shown: without the user and the password that may stand in them."""

import re

MASK = "***"

_CREDENTIALS = re.compile(r"(://)[^\s'\"]*@|\b[^\s'\"/@:]+:[^\s'\"/@]+@")
"""What stands before the last @ of an address, also of one that lacks its scheme."""


def without_credentials(text: str) -> str:
    """Mask user and password in every address of the text; too much rather than too little."""
    return _CREDENTIALS.sub(rf"\g<1>{MASK}@", text)
