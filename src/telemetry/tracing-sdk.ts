import { ConfigurationError } from "../shared/errors.ts";

/** OpenTelemetry's packages, which only who traces has to have, with the versions that fit. */
const PACKAGES = {
  "@opentelemetry/sdk-trace": "3",
  "@opentelemetry/exporter-trace-otlp-http": "0.301",
  "@opentelemetry/context-async-hooks": "3",
  "@opentelemetry/resources": "3",
};

type TracingSdk = typeof import("@opentelemetry/sdk-trace") &
  typeof import("@opentelemetry/exporter-trace-otlp-http") &
  typeof import("@opentelemetry/context-async-hooks") &
  typeof import("@opentelemetry/resources");

/** Returns the packages. @throws ConfigurationError naming all that are missing, in one line to type */
export async function loadTracingSdk(): Promise<TracingSdk> {
  const loading = [
    import("@opentelemetry/sdk-trace"),
    import("@opentelemetry/exporter-trace-otlp-http"),
    import("@opentelemetry/context-async-hooks"),
    import("@opentelemetry/resources"),
  ] as const;
  const loaded = await Promise.allSettled(loading);
  const names = Object.entries(PACKAGES);
  const missing = names.filter((_, i) => {
    const one = loaded[i];
    if (one?.status !== "rejected") return false;
    if ((one.reason as NodeJS.ErrnoException).code === "ERR_MODULE_NOT_FOUND") return true;
    throw one.reason;
  });
  if (missing.length > 0) {
    throw new ConfigurationError(
      `traces need packages that are not installed: ${missing.map(([name]) => name).join(", ")}`,
      `npm install ${names.map(([name, version]) => `${name}@${version}`).join(" ")}`,
    );
  }
  const [sdk, exporter, hooks, resources] = await Promise.all(loading);
  return { ...sdk, ...exporter, ...hooks, ...resources };
}
