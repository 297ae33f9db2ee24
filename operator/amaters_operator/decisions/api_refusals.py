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
    (rf"{_POD}\.securityContext", "spec.podSecurity.pod"),
    (rf"{_POD}\.containers\[\d+\]\.securityContext", "spec.podSecurity.container"),
    (rf"{_POD}\.volumes", "spec.tls.secretName"),
    (r"spec\.template(\.metadata)?\.labels", "spec.podLabels"),
    (r"spec\.template(\.metadata)?\.annotations", "spec.podAnnotations"),
    (r"spec\.volumeClaimTemplates", "spec.storage"),
    (r"spec\.type", "spec.service.type"),
    # The first family of a Service is refused by way of the address that it has.
    (r"spec\.(ipFamil(y|ies)|clusterIP)", "spec.networking"),
    (r"spec\.ingress", "spec.networkPolicy"),
    (r"spec\.endpoints", "spec.monitoring"),
)
_LONGEST: Final = 900


def refused(what: str, answer: str, *, lasting: bool) -> Blocked:
    """Return the report of a refusal: the API server's text, the field, and what to do.

    `what` names the object, `answer` is the whole answer.
    """
    text = answer[:_LONGEST].rstrip(". ")
    return Blocked("Refused", f"{text}. {_advice(what, answer, lasting=lasting)}", lasting)


def field_in(answer: str) -> str:
    """Return the field of the AmatersCluster that an answer is about; empty when it names none."""
    found = [
        (match.start(), ours) for pattern, ours in _FIELDS if (match := re.search(pattern, answer))
    ]
    return min(found)[1] if found else ""


def _advice(what: str, answer: str, *, lasting: bool) -> str:
    left = f"until it is accepted, {what} stays unchanged"
    if field := field_in(answer):
        return f"Correct {field}; {left}"
    if "exceeded quota" in answer:
        return f"Raise that quota, or ask for less in the spec; {left}"
    if "admission webhook" in answer or "denied the request" in answer or "webhook" in answer:
        return f"Change what that webhook refuses, or the webhook; {left}"
    if "cannot " in answer and "in API group" in answer:
        return f"Upgrade the operator's chart, which grants its rights; {left}"
    return f"Correct the spec; {left}" if lasting else f"It is retried; {left}"
