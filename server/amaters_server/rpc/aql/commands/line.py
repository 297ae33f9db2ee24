"""The command in a key. Pure: bytes to verb and arguments."""

from dataclasses import dataclass

from amaters_server.model.errors import InvalidRequestError
from amaters_server.rpc.aql.decode import ADMIN_PREFIX

COLLECTION = "collection="
_LONGEST_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Line:
    """One command."""

    verb: str
    """In capitals; empty when there is none."""
    rest: str = ""
    """Everything behind the verb, without the spaces around it."""

    @property
    def words(self) -> list[str]:
        """The arguments that contain no spaces."""
        return self.rest.split()

    def at_most(self, count: int) -> list[str]:
        """Return the arguments; InvalidRequestError when there are more."""
        words = self.words
        if len(words) > count:
            raise InvalidRequestError(
                f"{self.verb} takes {count or 'no'} arguments, and {shown(words[count])} is one "
                "too many: leave it out"
            )
        return words


def line_of(key: bytes) -> Line:
    """Take the command in the key apart."""
    verb, _, rest = key.removeprefix(ADMIN_PREFIX).decode(errors="replace").strip().partition(" ")
    verb, _, more = verb.partition("\t")
    return Line(verb.upper(), f"{more} {rest}".strip())


def verb_of(key: bytes) -> str:
    """Return the command in the key, in capitals; empty when there is none."""
    return line_of(key).verb


def split_last(rest: str, known: tuple[str, ...]) -> tuple[str, str]:
    """Split a last word off that is one of the known ones, in any case: what may have spaces, word.

    The word is empty when the last one is none of them.
    """
    before, _, last = rest.rpartition(" ")
    if last.lower() in known:
        return before.strip(), last.lower()
    return rest, ""


def shown(text: str) -> str:
    """Return a caller's word as an error quotes it."""
    return repr(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…")
