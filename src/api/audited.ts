import type { Request, Response } from "express";
import { type Principal, roleOf } from "../shared/principal.ts";
import { type ActEnd, type Audit, outcomeOf } from "../store/audit.ts";
import type { Route } from "./route.ts";

/** One request, of which the audit is to tell. */
interface AuditedRequest {
  /** The template of the whole path. */
  path: string;
  request: Request;
  response: Response;
}

/** Returns whether a route changes something: all do but GET, unless the route says that it does not. */
export function changes({ method, isRead }: Pick<Route, "method" | "isRead">): boolean {
  return method !== "get" && isRead !== true;
}

/**
 * Handles a request, and writes down who did what, before it is done and after. Undisturbed where acts are not written down.
 * @throws GlueError `audit_full`: then nothing was done; what `handle` throws
 */
export async function audited(
  audit: Audit,
  { path, request, response }: AuditedRequest,
  handle: () => Promise<unknown>,
): Promise<unknown> {
  const principal = response.locals.principal as Principal;
  const open = await audit.begin({
    actor: actorName(principal),
    role: roleOf(principal),
    address: request.ip,
    tenant: principal.tenant,
    action: `${request.method} ${path}`,
    target: Object.values(request.params).flat().join("/") || undefined,
    requestId: String(response.getHeader("x-request-id")),
  });
  // It is done: that its end cannot be written is told by its beginning, which has none.
  const end = (how: ActEnd) => open?.end(how).catch(() => {});
  try {
    const result = await handle();
    const outcome = response.statusCode < 400 ? "done" : `status_${response.statusCode}`;
    await end({ outcome, target: idOf(result) });
    return result;
  } catch (error) {
    await end({ outcome: outcomeOf(error) });
    throw error;
  }
}

function actorName({ keyId, user, by = "local" }: Principal): string {
  return keyId ?? (user === undefined ? by : `user:${user}`);
}

/** Of what was made; its other fields may hold what was asked and answered. */
function idOf(result: unknown): string | undefined {
  const { id } = (result ?? {}) as { id?: unknown };
  return typeof id === "string" ? id : undefined;
}
