"""Changes of a cluster's spec: written under our own name, and proven by what came back."""

from collections.abc import Iterator

from amaters_kubectl import names
from amaters_kubectl.call import Call
from amaters_kubectl.cluster.view import ClusterView, view
from amaters_kubectl.errors import PluginError
from amaters_kubectl.reading import Fields, part, parts, text

_BY_HAND = ("kubectl", names.FIELD_MANAGER)


def set_spec(call: Call, cluster: ClusterView, field: str, *, wanted: bool) -> ClusterView:
    """Set a yes-or-no field of the spec; PluginError when the installed CRD does not know it."""
    written = call.kubectl.patch(names.CLUSTERS, cluster.name, {"spec": {field: wanted}})
    found = part(written, "spec")
    if (found.get(field) or False) is not wanted:
        raise PluginError(
            "not_known",
            f"the installed CRD knows no spec.{field}: upgrade CRDs and operator first "
            "(docs/operations/upgrade-the-operator.md)",
        )
    return view(written)


def other_owners(source: Fields, field: str) -> list[str]:
    """Return who else writes that field of the spec, such as a GitOps tool. Pure."""
    found = {
        text(one, "manager")
        for one in parts(part(source, "metadata"), "managedFields")
        if f"f:{field}" in part(one, "fieldsV1", "f:spec")
    }
    return sorted(one for one in found if one and not one.startswith(_BY_HAND))


def warn_of_owners(call: Call, source: Fields, field: str) -> None:
    """Say who may undo the change."""
    for line in _warnings(source, field):
        call.note(line)


def _warnings(source: Fields, field: str) -> Iterator[str]:
    for owner in other_owners(source, field):
        yield f"{owner} writes spec.{field}, too, and may undo this: change it in its source"
