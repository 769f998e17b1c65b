import { z } from "zod";

const text = z.string().min(1);
const named = z.strictObject({ name: text });
const labels = z.record(z.string(), z.string());
const probe = z
  .strictObject({
    httpGet: z.strictObject({ path: z.string().startsWith("/"), port: text }).optional(),
    exec: z.strictObject({ command: z.array(text).min(1) }).optional(),
    tcpSocket: z.strictObject({ port: text }).optional(),
    periodSeconds: z.int().positive(),
    timeoutSeconds: z.int().positive().optional(),
    failureThreshold: z.int().positive().optional(),
  })
  .refine(({ httpGet, exec, tcpSocket }) => [httpGet, exec, tcpSocket].filter(Boolean).length === 1);
const quantity = z.string().regex(/^\d+(m|Mi|Gi)?$/);
const resources = z.strictObject({
  requests: z.strictObject({ cpu: quantity, memory: quantity }),
  limits: z.strictObject({ memory: quantity }),
});
const claim = z.strictObject({
  accessModes: z.array(z.enum(["ReadWriteOnce", "ReadWriteMany"])).length(1),
  resources: z.strictObject({ requests: z.strictObject({ storage: quantity }) }),
});
const container = z.strictObject({
  name: text,
  image: text,
  args: z.array(z.string()).min(1),
  env: z.array(z.strictObject({ name: text, value: z.string() })).optional(),
  envFrom: z
    .array(z.strictObject({ configMapRef: named.optional(), secretRef: named.optional() }))
    .optional(),
  ports: z.array(z.strictObject({ name: text, containerPort: z.int() })),
  startupProbe: probe.optional(),
  readinessProbe: probe.optional(),
  livenessProbe: probe,
  resources,
  securityContext: z.strictObject({
    allowPrivilegeEscalation: z.literal(false),
    readOnlyRootFilesystem: z.literal(true),
    capabilities: z.strictObject({ drop: z.tuple([z.literal("ALL")]) }),
  }),
  volumeMounts: z.array(z.strictObject({ name: text, mountPath: z.string().startsWith("/") })),
});
const podSpec = z.strictObject({
  automountServiceAccountToken: z.literal(false),
  terminationGracePeriodSeconds: z.int().positive(),
  securityContext: z.strictObject({
    runAsNonRoot: z.literal(true),
    runAsUser: z.int().positive(),
    fsGroup: z.int().positive(),
    seccompProfile: z.strictObject({ type: z.literal("RuntimeDefault") }),
  }),
  containers: z.array(container).length(1),
  volumes: z
    .array(
      z.strictObject({
        name: text,
        persistentVolumeClaim: z.strictObject({ claimName: text }).optional(),
        emptyDir: z.strictObject({}).optional(),
      }),
    )
    .optional(),
});
const workload = {
  replicas: z.int().positive().optional(),
  selector: z.strictObject({ matchLabels: labels }),
  template: z.strictObject({ metadata: z.strictObject({ labels }), spec: podSpec }),
};
const behavior = z.strictObject({
  scaleDown: z.strictObject({
    stabilizationWindowSeconds: z.int().min(0).max(3600),
    policies: z.array(
      z.strictObject({ type: z.enum(["Percent", "Pods"]), value: z.int(), periodSeconds: z.int() }),
    ),
  }),
  scaleUp: z.strictObject({ stabilizationWindowSeconds: z.int().min(0).max(3600) }),
});
const object = <V extends string, K extends string, S extends z.ZodRawShape>(
  apiVersion: V,
  kind: K,
  fields: S,
) => z.strictObject({ apiVersion: z.literal(apiVersion), kind: z.literal(kind), metadata: named, ...fields });

/** The parts of the schemas of Kubernetes and KEDA that the files use; a field that is none of them is a fault. */
export const manifest = z.discriminatedUnion("kind", [
  object("v1", "ConfigMap", { data: z.record(z.string(), z.string()) }),
  object("v1", "Service", {
    spec: z.strictObject({
      clusterIP: z.literal("None").optional(),
      selector: labels,
      ports: z.array(z.strictObject({ name: text, port: z.int() })),
    }),
  }),
  object("v1", "PersistentVolumeClaim", { spec: claim }),
  object("apps/v1", "Deployment", { spec: z.strictObject(workload) }),
  object("apps/v1", "StatefulSet", {
    spec: z.strictObject({
      ...workload,
      serviceName: text,
      volumeClaimTemplates: z.array(z.strictObject({ metadata: named, spec: claim })),
    }),
  }),
  object("keda.sh/v1alpha1", "TriggerAuthentication", {
    spec: z.strictObject({
      secretTargetRef: z.array(z.strictObject({ parameter: text, name: text, key: text })),
    }),
  }),
  object("keda.sh/v1alpha1", "ScaledObject", {
    spec: z.strictObject({
      scaleTargetRef: named,
      minReplicaCount: z.int().min(0),
      maxReplicaCount: z.int(),
      pollingInterval: z.int(),
      cooldownPeriod: z.int(),
      fallback: z.strictObject({ failureThreshold: z.int(), replicas: z.int() }),
      advanced: z.strictObject({ horizontalPodAutoscalerConfig: z.strictObject({ behavior }) }),
      triggers: z.array(
        z.strictObject({
          type: z.literal("metrics-api"),
          metricType: z.enum(["AverageValue", "Value"]),
          metadata: z.strictObject({
            url: z.url(),
            format: z.enum(["json", "xml", "yaml", "prometheus"]),
            valueLocation: text,
            targetValue: text,
            activationTargetValue: text,
            authMode: z.enum(["apiKey", "basic", "bearer", "tls"]),
          }),
          authenticationRef: named,
        }),
      ),
    }),
  }),
  object("autoscaling/v2", "HorizontalPodAutoscaler", {
    spec: z.strictObject({
      scaleTargetRef: z.strictObject({ apiVersion: text, kind: text, name: text }),
      minReplicas: z.int().positive(),
      maxReplicas: z.int(),
      metrics: z.array(
        z.strictObject({
          type: z.literal("External"),
          external: z.strictObject({
            metric: named,
            target: z.strictObject({ type: z.literal("AverageValue"), averageValue: text }),
          }),
        }),
      ),
      behavior,
    }),
  }),
]);
