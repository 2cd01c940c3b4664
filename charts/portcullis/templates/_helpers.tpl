{{/*
Names are fixed: the kinds are cluster-scoped and the agents share what is pinned on a node, so there is one installation in a
cluster, whatever its release is called. Helm refuses a second one by the names it finds.
*/}}

{{- define "portcullis.check" -}}
{{- if eq .Release.Namespace "default" -}}
{{- fail "Portcullis needs a namespace of its own: install it with -n portcullis-system --create-namespace" -}}
{{- end -}}
{{- if and .Values.metrics.serviceMonitor.enabled (eq .Values.metrics.agent.listen "Loopback") -}}
{{- fail "metrics.serviceMonitor.enabled: no Prometheus reaches agents that listen on Loopback. Set metrics.agent.listen to NodeAddress, and keep others out by a firewall, or by metrics.tls and metrics.tokenReview" -}}
{{- end -}}
{{- if and .Values.metrics.tokenReview (not .Values.metrics.tls.secretName) -}}
{{- fail "metrics.tokenReview needs metrics.tls.secretName: tokens would cross the network in clear text" -}}
{{- end -}}
{{- end -}}

{{- define "portcullis.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/part-of: portcullis
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* By the name of the part, agent or operator. A selector cannot be changed later: no release and no version is in it. */}}
{{- define "portcullis.selector" -}}
app.kubernetes.io/name: portcullis-{{ . }}
{{- end -}}

{{/* Of a list [root, image]. */}}
{{- define "portcullis.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default $root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* What a pod that needs no rights on its node may do: nothing. */}}
{{- define "portcullis.restrictedPod" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "portcullis.restrictedContainer" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}

{{- define "portcullis.metricsFlags" -}}
{{- if .Values.metrics.tls.secretName }}
- --metrics-tls-folder=/etc/portcullis/metrics-tls
{{- end }}
{{- if .Values.metrics.tokenReview }}
- --metrics-authorization=TokenReview
{{- end }}
{{- end -}}

{{/* In its own pods, so nobody needs another. */}}
{{- define "portcullis.operatorPort" -}}
9470
{{- end -}}

{{/* Where an agent listens. */}}
{{- define "portcullis.agentListen" -}}
{{- $isV6 := eq .Values.metrics.ipFamily "IPv6" -}}
{{- $host := get (dict "Loopback" "127.0.0.1" "NodeAddress" "$(NODE_IP)" "All" "0.0.0.0") .Values.metrics.agent.listen -}}
{{- if $isV6 -}}
{{- $host = get (dict "Loopback" "[::1]" "NodeAddress" "[$(NODE_IP)]" "All" "[::]") .Values.metrics.agent.listen -}}
{{- end -}}
{{ $host }}:{{ .Values.metrics.agent.port | int64 }}
{{- end -}}

{{/* The target of a probe: [root, part, path]. Without a host the kubelet takes the pod's address. */}}
{{- define "portcullis.httpGet" -}}
{{- $root := index . 0 -}}
{{- $part := index . 1 -}}
path: {{ index . 2 }}
port: metrics
{{- if and (eq $part "agent") (eq $root.Values.metrics.agent.listen "Loopback") }}
host: {{ ternary "'::1'" "127.0.0.1" (eq $root.Values.metrics.ipFamily "IPv6") }}
{{- end }}
{{- if $root.Values.metrics.tls.secretName }}
scheme: HTTPS
{{- end }}
{{- end -}}

{{/* The first power of two at or above an integer. */}}
{{- define "portcullis.powerOfTwo" -}}
{{- $wanted := int64 . -}}
{{- $state := dict "power" (int64 1) -}}
{{- range until 40 -}}
{{- if lt (int64 $state.power) $wanted -}}{{- $_ := set $state "power" (mul $state.power 2) -}}{{- end -}}
{{- end -}}
{{ $state.power }}
{{- end -}}

{{/*
Bytes of the tables in the kernel that are there from the start, with the figures of docs/performance.md. They count against the
memory of the pod that makes them.
*/}}
{{- define "portcullis.tableBytes" -}}
{{- $tables := .Values.agent.tables -}}
{{- $domains := include "portcullis.powerOfTwo" (div (add (int64 $tables.maxFirstTargets) 23) 24) | int64 -}}
{{- $slots := get (dict "16" 15 "32" 31 "64" 63) (toString (int64 $tables.distinctTargets)) | int64 -}}
{{- $blocks := int64 $tables.maxBlocks -}}
{{- $rings := include "portcullis.powerOfTwo" (mul $blocks 2) | int64 -}}
{{- /* The prefilter of a million cells, counters, and the small tables: 2 MB; an entry of the never-block set is 64 bytes, twice. */ -}}
{{- $small := add 2097152 (mul (int64 $tables.maxNeverBlock) 128) -}}
{{ add (mul $domains 2048) (mul $domains $slots 72) (mul $blocks 168) (mul $rings 64) (int64 $tables.ringBufferBytes) $small }}
{{- end -}}

{{/* Bytes that the process takes at most: bin/portcullis-agent.mjs bounds its heap, 96 MiB are code, stacks and libraries. */}}
{{- define "portcullis.processBytes" -}}
{{ mul 1048576 (add 96 192 (div (int64 .Values.agent.tables.maxBlocks) 1024)) }}
{{- end -}}

{{/*
A memory limit under which nothing fails for want of room: tables, process, and lists and allow entries, whose tries take up to 135
bytes an entry in each of two families, and twice that while a change is swapped in. A twentieth more, in whole 16 MiB.
*/}}
{{- define "portcullis.computedLimit" -}}
{{- $tables := .Values.agent.tables -}}
{{- $sets := mul 540 (add (int64 $tables.maxListEntries) (int64 $tables.maxAllowEntries)) -}}
{{- $bytes := add (include "portcullis.tableBytes" . | int64) (include "portcullis.processBytes" . | int64) $sets -}}
{{- $bytes = add $bytes (div $bytes 20) -}}
{{ mul 16 (div (add $bytes 16777215) 16777216) }}Mi
{{- end -}}

{{/* Bytes of a quantity such as 512Mi, 1.5Gi is refused by the schema. */}}
{{- define "portcullis.bytes" -}}
{{- $text := toString . -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 -}}
{{- mul (regexFind "^[0-9]+" $text | int64) (get $units (regexFind "[A-Za-z]*$" $text) | int64) -}}
{{- end -}}

{{/* The memory limit of an agent; one that cannot hold the tables is refused here and not by ENOMEM on each node. */}}
{{- define "portcullis.agentMemory" -}}
{{- $limit := .Values.agent.resources.limits.memory -}}
{{- if $limit -}}
{{- $least := add (include "portcullis.tableBytes" . | int64) 134217728 -}}
{{- if lt (include "portcullis.bytes" $limit | int64) $least -}}
{{- fail (printf "agent.resources.limits.memory: %s cannot hold the tables of agent.tables and the agent's process, which take %dMi. Give more (%s leaves room for full lists), or smaller tables" $limit (div (add $least 1048575) 1048576) (include "portcullis.computedLimit" .)) -}}
{{- end -}}
{{ $limit }}
{{- else -}}
{{ include "portcullis.computedLimit" . }}
{{- end -}}
{{- end -}}

{{/* The pod of a job, [root, service account], up to the arguments of its container. */}}
{{- define "portcullis.hookPod" -}}
{{- $root := index . 0 -}}
{{- $operator := $root.Values.operator -}}
serviceAccountName: {{ index . 1 }}
restartPolicy: Never
# Variables of Services would be many, and are of no use.
enableServiceLinks: false
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
# It needs nothing of its node: no user, no capability, no folder.
securityContext:
  {{- include "portcullis.restrictedPod" $root | nindent 2 }}
{{- with $operator.nodeSelector }}
# Where the operator may run.
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $operator.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: operator
    image: {{ include "portcullis.image" (list $root $operator.image) }}
    imagePullPolicy: {{ $root.Values.imagePullPolicy }}
    securityContext:
      {{- include "portcullis.restrictedContainer" $root | nindent 6 }}
    resources:
      {{- toYaml $operator.resources | nindent 6 }}
{{- end -}}
