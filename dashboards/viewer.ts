import { AsyncLocalStorage } from "node:async_hooks";
import type { RequestHandler } from "express";
import type { Principal } from "../src/shared/principal.ts";
import { allows } from "../src/shared/scopes.ts";
import { DEFAULT_TENANT } from "../src/shared/tenant.ts";
import { isChange } from "./access.ts";
import { refuse } from "./refuse.ts";

/** For whom Bull Board answers: it hands its requests neither to the adapters of queues nor to their formatters. */
const viewers = new AsyncLocalStorage<Principal>();

/** Fields of a job's data and of its summary that say where it stands, not what was asked or answered. */
const STATE_FIELDS: ReadonlySet<string> = new Set([
  ...["kind", "waitsFor", "model", "fallbacks", "workflow", "run", "step", "state", "version", "error"],
  ...["batch", "line", "customId", "conversation", "turn", "tenant", "tools", "deadline", "requestId"],
  ...["status", "removed", "tokens", "cost", "costUsd"],
]);
const HIDDEN = 'prompts and answers are shown to keys with the scope "content"';

/**
 * Lets in to the board who may: it has the jobs of all tenants, so that keys of another one are refused; what changes something
 * needs `operate`.
 */
export const guardBoard: RequestHandler = (request, response, next) => {
  const principal = response.locals.principal as Principal;
  const { tenant, scopes } = principal;
  if (tenant !== DEFAULT_TENANT)
    return refuse(
      response,
      403,
      "other_tenant",
      `Bull Board shows the jobs of all tenants, so that it is for keys of the tenant "${DEFAULT_TENANT}"`,
    );
  const needed = isChange(request) ? "operate" : "read";
  if (!allows(scopes, needed))
    return refuse(response, 403, "missing_scope", `this key does not allow "${needed}"`);
  viewers.run(principal, next);
};

/** Returns whether the present viewer may see prompts and answers. */
export function seesContents(): boolean {
  return allows(viewers.getStore()?.scopes ?? [], "content");
}

/** Returns whether the present viewer may change something. */
export function mayOperate(): boolean {
  return allows(viewers.getStore()?.scopes ?? [], "operate");
}

/** Returns what there is of a job's data or summary without what was asked and answered. */
export function withoutContents(value: unknown): unknown {
  if (typeof value !== "object" || value === null)
    return value === undefined || value === null ? value : HIDDEN;
  const kept = Object.entries(value).filter(([name]) => STATE_FIELDS.has(name));
  return { ...Object.fromEntries(kept), hidden: HIDDEN };
}
