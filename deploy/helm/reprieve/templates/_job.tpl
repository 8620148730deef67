{{/*
One container of a job. Takes root, name, args (a list), variable, secret, key, resources.
*/}}
{{- define "reprieve.jobContainer" -}}
- name: {{ .name }}
  image: {{ include "reprieve.image" .root | quote }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  args:
    {{- toYaml .args | nindent 4 }}
    {{- with include "reprieve.settings" .root | trim }}
    {{- . | nindent 4 }}
    {{- end }}
  env:
    {{- include "reprieve.secretEnv" . | nindent 4 }}
    {{- with .root.Values.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  resources:
    {{- toYaml .resources | nindent 4 }}
  securityContext:
    {{- toYaml .root.Values.securityContext | nindent 4 }}
  {{- if or (eq .root.Values.secretsAs "files") .root.Values.extraVolumeMounts }}
  volumeMounts:
    {{- if eq .root.Values.secretsAs "files" }}
    - name: secrets
      mountPath: /run/secrets/reprieve
      readOnly: true
    {{- end }}
    {{- with .root.Values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
{{- end -}}

{{/*
What the pods of all jobs share. Takes root, variable, secret, key. A hook runs before the chart's own objects exist, so it
uses none of them: the namespace's account, without its token, and Secrets that were there before.
*/}}
{{- define "reprieve.jobPod" -}}
restartPolicy: Never
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .root.Values.podSecurityContext | nindent 2 }}
{{- with .root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if or (eq .root.Values.secretsAs "files") .root.Values.extraVolumes }}
volumes:
  {{- if eq .root.Values.secretsAs "files" }}
  - name: secrets
    projected:
      defaultMode: 0440
      sources:
        {{- include "reprieve.secretSource" . | nindent 8 }}
  {{- end }}
  {{- with .root.Values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end -}}
