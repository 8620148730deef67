{{/* The chart's name, or what replaces it. */}}
{{- define "reprieve.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The name of the objects: the release's and the chart's, said once where they are the same. Room is left for a suffix. */}}
{{- define "reprieve.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "reprieve.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What selects all pods of a release; never changed, since a Deployment's selector cannot be. */}}
{{- define "reprieve.selector" -}}
app.kubernetes.io/name: {{ include "reprieve.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* What selects the worker's pods and no job's. */}}
{{- define "reprieve.worker" -}}
{{ include "reprieve.selector" . }}
app.kubernetes.io/component: worker
{{- end -}}

{{/* Labels of the objects. */}}
{{- define "reprieve.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "reprieve.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "reprieve.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "reprieve.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "reprieve.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "reprieve.rulesConfigMap" -}}
{{- default (printf "%s-rules" (include "reprieve.fullname" .)) .Values.rules.existingConfigMap -}}
{{- end -}}

{{/* `--set KEY=VALUE` for each setting, as items of a list. A large number would come as 1e+06, so it is written whole. */}}
{{- define "reprieve.settings" -}}
{{- range $key, $value := .Values.settings }}
- --set
{{- if kindIs "float64" $value }}
- {{ printf "%s=%d" $key (int64 $value) | quote }}
{{- else }}
- {{ printf "%s=%v" $key $value | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* One secret as a variable, or as the name of its mounted file. Takes root, variable, secret, key. */}}
{{- define "reprieve.secretEnv" -}}
{{- if eq .root.Values.secretsAs "files" -}}
- name: {{ .variable }}_FILE
  value: /run/secrets/reprieve/{{ .variable }}
{{- else -}}
- name: {{ .variable }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret | quote }}
      key: {{ .key | quote }}
{{- end }}
{{- end -}}

{{/* One secret as a source of the volume that holds them. */}}
{{- define "reprieve.secretSource" -}}
- secret:
    name: {{ .secret | quote }}
    items:
      - key: {{ .key | quote }}
        path: {{ .variable }}
{{- end -}}
