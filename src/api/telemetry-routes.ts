import type { RequestHandler } from "express";
import { allows } from "../shared/scopes.ts";
import { DEFAULT_TENANT } from "../shared/tenant.ts";
import { answerTelemetry, isTelemetry, mayRead } from "../telemetry/telemetry-requests.ts";
import { ApiError } from "./api-error.ts";
import type { ApiContext } from "./context.ts";
import type { MountOptions } from "./mount.ts";

interface TelemetryRules {
  host: string;
  isAuthRequired: boolean;
  authorize: MountOptions["authorize"];
}

/** `GET /metrics` and `GET /scale`: for who is on this machine, who has the metrics token, and keys with the scope `read`. */
export function telemetryRoutes(
  context: ApiContext,
  { host, isAuthRequired, authorize }: TelemetryRules,
): RequestHandler {
  const { token } = context.settings.metrics;
  return async (request, response, next) => {
    if (!isTelemetry(request)) return next();
    if (!mayRead(request, { host, token })) {
      const { scopes, tenant } = await authorize(request);
      // They tell of all tenants.
      const isOperator = tenant === DEFAULT_TENANT || scopes.includes("admin");
      if (isAuthRequired && !(allows(scopes, "read") && isOperator)) throw notAllowed();
    }
    await answerTelemetry(request, response, context);
  };
}

function notAllowed(): ApiError {
  return new ApiError({
    status: 403,
    code: "missing_scope",
    message: "this key may not read what concerns all tenants",
    hint: "make one that may: gluellm keys create --scope read",
  });
}
