import { hostname, userInfo } from "node:os";
import type { Command } from "commander";
import { planCommandAct } from "../host/command-act.ts";
import { keyIdOf } from "../shared/api-token.ts";
import { DEFAULT_TENANT } from "../shared/tenant.ts";

/** Commands that change nothing that others share, and those that start what has callers of its own. All others leave an entry in the audit. */
export const UNAUDITED: ReadonlySet<string> = new Set([
  ...[
    "up",
    "api",
    "worker",
    "dashboard",
    "mcp",
    "simulate",
    "init",
    "examples",
    "demo",
    "quickstart",
    "run-tests",
  ],
  ...[
    "batch list",
    "batch status",
    "batch download",
    "keys list",
    "users list",
    "tenants list",
    "tenants usage",
  ],
  ...["webhooks list", "webhooks show", "queues", "top", "workers", "doctor", "errors", "cache report"],
  ...["workflow list", "workflow versions", "workflow status", "workflow steps", "workflow signals"],
  ...[
    "workflow replay",
    "workflow dev",
    "workflow dev-worker",
    "schedule list",
    "schedule show",
    "schedule next",
  ],
  ...["approvals list", "dlq list", "dlq show", "audit list", "audit verify", "audit status"],
  ...["spend", "latency", "failures", "cache", "runs", "slowest", "batches", "jobs", "status", "run"].map(
    (report) => `history ${report}`,
  ),
]);

/** Arguments that name what a command is done to; others may be prompts, files or secrets. */
const TARGETS: ReadonlySet<string> = new Set(["id", "name", "job", "key", "user", "ids"]);

/** Returns a command's words without the program's: `keys revoke`. */
export function pathOf(command: Command): string {
  const above = command.parent?.parent ? `${pathOf(command.parent)} ` : "";
  return `${above}${command.name()}`;
}

/** Has the audit told of a command, as soon as it opens Redis. */
export function planAct(command: Command): void {
  const path = pathOf(command);
  if (UNAUDITED.has(path)) return;
  const options: Partial<Record<"tenant" | "conversation" | "run" | "batch" | "job", string>> =
    command.opts();
  const { tenant = DEFAULT_TENANT } = options;
  planCommandAct({
    actor: `cli:${userName()}@${hostname()}`,
    role: "owner",
    tenant,
    action: `gluellm ${path}`,
    target: targetOf(command) ?? options.conversation ?? options.run ?? options.batch ?? options.job,
  });
}

function targetOf(command: Command): string | undefined {
  const named = command.registeredArguments.findIndex((argument) => TARGETS.has(argument.name()));
  const value = [command.processedArgs[named] ?? []].flat().join(",");
  if (value === "") return undefined;
  // What is given for a key may be the key itself.
  return value.startsWith("gk_") ? keyIdOf(value) : value;
}

/** A user without a name has a number. */
function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return String(process.getuid?.() ?? "");
  }
}
