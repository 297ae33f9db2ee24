"""What a refusal of the Kubernetes API means for the spec. Pure: knows texts, not the API.

The API server names fields of the objects that the operator applies; a person knows the fields of
the AmatersCluster that they come from.
"""

import re
from typing import Final

from amaters_operator.decisions.pass_result import Blocked

_POD: Final = r"spec\.template\.spec"
_FIELDS: Final = (
    (rf"{_POD}\.affinity", "spec.scheduling.affinity"),
    (rf"{_POD}\.tolerations", "spec.scheduling.tolerations"),
    (rf"{_POD}\.nodeSelector", "spec.scheduling.nodeSelector"),
    (rf"{_POD}\.topologySpreadConstraints", "spec.scheduling.topologySpreadConstraints"),
    (rf"{_POD}\.priorityClassName", "spec.scheduling.priorityClassName"),
    (rf"{_POD}\.imagePullSecrets", "spec.imagePullSecrets"),
    (rf"{_POD}\.terminationGracePeriodSeconds", "spec.terminationGracePeriodSeconds"),
    (rf"{_POD}\.containers\[\d+\]\.image\b", "spec.image"),
    (rf"{_POD}\.containers\[\d+\]\.resources", "spec.resources"),
    (rf"{_POD}\.volumes", "spec.tls.secretName"),
    (r"spec\.template(\.metadata)?\.labels", "spec.podLabels"),
    (r"spec\.template(\.metadata)?\.annotations", "spec.podAnnotations"),
    (r"spec\.volumeClaimTemplates", "spec.storage"),
    (r"spec\.type", "spec.service.type"),
    (r"spec\.endpoints", "spec.monitoring"),
)
_LONGEST: Final = 900


def refused(what: str, said: str, *, lasting: bool) -> Blocked:
    """Return the report of a refusal: the API server's text, the field, and what to do.

    `what` names the object, `said` is the whole answer.
    """
    text = said[:_LONGEST].rstrip(". ")
    return Blocked("Refused", f"{text}. {_advice(what, said, lasting=lasting)}", lasting)


def field_of(said: str) -> str:
    """Return the field of the AmatersCluster that an answer is about; empty when it names none."""
    found = [
        (match.start(), ours) for pattern, ours in _FIELDS if (match := re.search(pattern, said))
    ]
    return min(found)[1] if found else ""


def _advice(what: str, said: str, *, lasting: bool) -> str:
    left = f"until it is accepted, {what} stays unchanged"
    if field := field_of(said):
        return f"Correct {field}; {left}"
    if "exceeded quota" in said:
        return f"Raise that quota, or ask for less in the spec; {left}"
    if "admission webhook" in said or "denied the request" in said or "webhook" in said:
        return f"Change what that webhook refuses, or the webhook; {left}"
    if "cannot " in said and "in API group" in said:
        return f"Upgrade the operator's chart, which grants its rights; {left}"
    return f"Correct the spec; {left}" if lasting else f"It is retried; {left}"
