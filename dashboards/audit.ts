import type { Request, RequestHandler, Response } from "express";
import { DEFAULT_TENANT } from "../src/shared/tenant.ts";
import { type Audit, outcomeOf } from "../src/store/audit.ts";
import { isChange } from "./access.ts";
import { actorOf } from "./caller.ts";
import { ALLOWED } from "./controls.ts";
import { refuse } from "./refuse.ts";

/** What the audit calls a request that changes something, and what it is done to; undefined: it is refused anyway, or is another's to tell. */
export interface NamedAct {
  action: string;
  target?: string | undefined;
}

/** Logins are acts too: `POST /login`, `POST /logout`. Who it was is known at the end. */
export function loginAct({ method, path }: Request): NamedAct | undefined {
  return path === "/login" || path === "/logout" ? { action: `${method} ${path}` } : undefined;
}

/** Bull Board's acts, by the templates of those that it may do; the target is the job, else the queue. */
export function boardAct({ method, path }: Request): NamedAct | undefined {
  const parts = path.replace(/^\/api\/queues\/?/, "").split("/");
  for (const template of ALLOWED) {
    const names = template.slice(1).split("/");
    const fits = names.every((name, n) => (name.startsWith(":") ? parts[n] : name === parts[n]));
    if (!fits || names.length !== parts.length) continue;
    const at = names.includes(":jobId") ? names.indexOf(":jobId") : names.indexOf(":queueName");
    return { action: `${method} /queues/api/queues${template}`, target: decoded(parts[at]) };
  }
  return undefined;
}

/** Writes down who changes something, before it is done and after. Refuses it while the audit takes no more. */
export function auditChanges(
  audit: Audit,
  actOf: (request: Request) => NamedAct | undefined,
): RequestHandler {
  return async (request, response, next) => {
    const act = isChange(request) ? actOf(request) : undefined;
    if (!act) return next();
    const { role, tenant = DEFAULT_TENANT, address } = actorOf(request, response);
    try {
      const open = await audit.begin({ ...act, actor: nameOf(request, response), role, tenant, address });
      response.once("close", () => {
        const outcome = response.statusCode < 400 ? "done" : `status_${response.statusCode}`;
        const who = { actor: nameOf(request, response), role: actorOf(request, response).role };
        open?.end({ outcome, ...who }).catch(() => {});
      });
    } catch (error) {
      if (outcomeOf(error) !== "audit_full") return next(error);
      return refuse(response, 503, "audit_full", (error as Error).message);
    }
    next();
  };
}

/** What is not encoded rightly, express refuses. */
function decoded(part: string | undefined): string | undefined {
  try {
    return part === undefined ? undefined : decodeURIComponent(part);
  } catch {
    return part;
  }
}

function nameOf(request: Request, response: Response): string {
  const { keyId, user, by = "unknown" } = actorOf(request, response);
  return keyId ?? (user === undefined ? by : `user:${user}`);
}
