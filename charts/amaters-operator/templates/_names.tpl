{{/* Name of everything of this release. */}}
{{- define "operator.name" -}}
{{- if contains "amaters-operator" .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-amaters-operator" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "operator.selector" -}}
app.kubernetes.io/name: amaters-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "operator.labels" -}}
{{ include "operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: amaters
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* The image: by tag, and by digest where one is given. */}}
{{- define "operator.image" -}}
{{- $image := .Values.image -}}
{{ $image.repository }}:{{ default .Chart.AppVersion $image.tag }}{{ with $image.digest }}@{{ . }}{{ end }}
{{- end -}}

{{- define "operator.account" -}}
{{- default (include "operator.name" .) .Values.serviceAccount.name -}}
{{- end -}}

{{/* The watched namespaces, as a JSON list. */}}
{{- define "operator.namespaces" -}}
{{- default (list .Release.Namespace) .Values.watchNamespaces | toJson -}}
{{- end -}}

{{/* The rights of the operator in a watched namespace: those of kube/rights.py, tested both ways. */}}
{{- define "operator.rules" -}}
- apiGroups: [amaters.io]
  resources: [amatersclusters]
  verbs: [get, list, watch]
- apiGroups: [amaters.io]
  resources: [amatersaccesses]
  verbs: [list, watch]
- apiGroups: [amaters.io]
  resources: [amatersclusters/status, amatersaccesses/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, delete] # delete: a pod on a dead node, once its member was removed
- apiGroups: [""]
  resources: [pods/eviction]
  verbs: [create]
# Certificates and the keys of stores, each read by the name that a spec gives. They are never listed,
# watched, written, or copied anywhere.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
{{- if .Values.access.secrets }}
# Keys of the users of AmatersAccess objects. A Secret of another owner is never changed, and none is
# ever deleted.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, patch]
{{- end }}
- apiGroups: [""]
  resources: [configmaps, services]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get, create, patch]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [list, watch, patch, delete]
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [monitoring.coreos.com]
  resources: [servicemonitors]
  verbs: [get, create, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [get, list, create, patch]
{{- end -}}
