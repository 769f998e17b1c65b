import type { Settings } from "../shared/settings.ts";

/** Returns where people look at a trace (`GLUELLM_TRACE_URL`); undefined where nobody has said. */
export function traceLink({ tracing: { url } }: Settings, traceId: string | undefined): string | undefined {
  return traceId === undefined ? undefined : url?.replaceAll("{traceId}", traceId);
}
