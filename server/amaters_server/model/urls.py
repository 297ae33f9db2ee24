"""Removes user and password from addresses before they are shown."""

import re

MASK = "***"

_CREDENTIALS = re.compile(r"(://)[^\s'\"]*@|\b[^\s'\"/@:]+:[^\s'\"/@]+@")
"""The part before the last @ of an address, also of one without a scheme."""


def without_credentials(text: str) -> str:
    """Mask user and password in every address of the text; rather too much than too little."""
    return _CREDENTIALS.sub(rf"\g<1>{MASK}@", text)
