import type { Command } from "commander";
import { keyIdOf } from "../shared/api-token.ts";
import { InputError } from "../shared/errors.ts";
import { ROLES, SCOPES, type Scope, scopeSchema } from "../shared/scopes.ts";
import { loadSettings } from "../shared/settings.ts";
import { DEFAULT_TENANT, tenantSchema } from "../shared/tenant.ts";
import { toolNameSchema } from "../shared/tool.ts";
import { usd } from "../shared/usd.ts";
import { type ApiKey, listApiKeys, revokeApiKey, saveApiKey } from "../store/api-key.ts";
import type { Store } from "../store/store.ts";
import { loggerOf } from "../telemetry/logging.ts";
import { openRedis } from "./compose.ts";
import { collect, integer, number, spanMs, table } from "./options.ts";
import { jsonText, print } from "./output.ts";

const DEFAULT_SCOPES: readonly Scope[] = ["complete", "batch", "workflow", "read"];

interface CreateOptions {
  name: string;
  tenant: string;
  scope?: string[];
  role?: string;
  expires?: string;
  rpm?: number;
  maxUsd?: number;
  maxUsdPerDay?: number;
  maxUsdPerMonth?: number;
  guardrail?: string[];
  json?: boolean;
}

/** `gluellm keys create|list|revoke`: who may call the API; `rotate-encryption`: what contents are encrypted under. */
export function addKeysCommands(program: Command): void {
  const keys = program.command("keys").description("Keys of the HTTP API.");
  keys
    .command("create")
    .description("Make a key and print it, once: only its hash is stored.")
    .option("--name <text>", "what it is for", "")
    .option("--tenant <name>", "whose jobs it makes and sees", DEFAULT_TENANT)
    .option(
      "--scope <name>",
      `${SCOPES.join(", ")} (repeatable; default: ${DEFAULT_SCOPES.join(", ")})`,
      collect,
    )
    .option("--role <name>", `a set of scopes: ${Object.keys(ROLES).join(", ")}`)
    .option(
      "--expires <time>",
      "when it ends: a time from now, such as 12h or 90d, or an ISO date (default: never)",
    )
    .option(
      "--rpm <n>",
      "requests per minute that ask for something (default: no limit)",
      integer(1, 1_000_000),
    )
    .option("--max-usd <n>", "what its calls may cost together (default: no limit)", number(0))
    .option("--max-usd-per-day <n>", "what they may cost in a day by UTC (default: no limit)", number(0))
    .option("--max-usd-per-month <n>", "what they may cost in a month by UTC (default: no limit)", number(0))
    .option(
      "--guardrail <name>",
      "a rule on all that is asked by it, which workers have: pii, secrets, injection or one of --module (repeatable)",
      collect,
    )
    .option("--json", "print id and key as JSON")
    .action((options: CreateOptions) => withStore((store) => create(store, options)));
  keys
    .command("list")
    .description("Show the keys with their use and spend.")
    .option("--json", "as JSON")
    .action(({ json }) => withStore((store) => list(store, json)));
  keys
    .command("revoke <key>")
    .description(
      "Revoke a key, by its id (key_…) or the key itself (gk_…): the next request with it is refused.",
    )
    .action((key: string) => withStore((store) => revoke(store, key)));
  keys
    .command("rotate-encryption")
    .description(
      "Wrap all data keys by the first of GLUELLM_ENCRYPTION_KEYS: the others are not needed any more. Run again, it goes on.",
    )
    .option("--json", "as JSON")
    .action(({ json }) => withStore((store) => rotateEncryption(store, json)));
}

async function rotateEncryption(store: Store, json: boolean | undefined): Promise<void> {
  const rotated = await store.sealing.rotate(({ done, total }) => {
    if (!json) process.stderr.write(`${done} of ${total} data keys\n`);
  });
  if (!rotated)
    throw new InputError(
      "encryption is off: there is no key to rotate to",
      "set GLUELLM_ENCRYPTION_KEYS, the new key first and the old one behind it",
      "encryption_off",
    );
  const { rewrapped, total } = rotated;
  if (json) return print(`${jsonText({ rewrapped, total })}\n`);
  print(`${rewrapped} of ${total} data keys were wrapped anew; all are under the first key now\n`);
}

async function withStore(work: (store: Store) => Promise<void>): Promise<void> {
  const settings = loadSettings();
  const logger = loggerOf(settings, "error");
  await using host = await openRedis(settings, logger);
  await work(host.store);
}

async function create(store: Store, { name, rpm, maxUsd, json, ...options }: CreateOptions): Promise<void> {
  const tenant = tenantSchema.safeParse(options.tenant);
  if (!tenant.success) throw new InputError(`the tenant's name ${tenant.error.issues[0]?.message}`);
  const { id, token } = await saveApiKey(store, {
    name: name.slice(0, 100),
    tenant: tenant.data,
    scopes: scopesOf(options),
    expiresAt: options.expires === undefined ? undefined : timeOf(options.expires),
    rpm,
    maxCostUsd: maxUsd,
    maxCostUsdPerDay: options.maxUsdPerDay,
    maxCostUsdPerMonth: options.maxUsdPerMonth,
    guardrails: options.guardrail?.map(checkedGuardrail),
  });
  if (json) return print(`${jsonText({ id, key: token })}\n`);
  process.stderr.write(`${id} is made. This is the key; it is not shown again:\n`);
  print(`${token}\n`);
}

function checkedGuardrail(name: string): string {
  const parsed = toolNameSchema.safeParse(name);
  if (parsed.success) return name;
  throw new InputError(`"${name}" is no guardrail's name`, parsed.error.issues[0]?.message);
}

function scopesOf({ scope, role }: Pick<CreateOptions, "scope" | "role">): Scope[] {
  const named: readonly string[] = role === undefined ? [] : roleOf(role);
  const scopes = [...new Set([...named, ...(scope ?? [])])];
  if (scopes.length === 0) return [...DEFAULT_SCOPES];
  return scopes.map((text) => {
    const parsed = scopeSchema.safeParse(text);
    if (!parsed.success)
      throw new InputError(`there is no scope "${text}"`, `there are: ${SCOPES.join(", ")}`);
    return parsed.data;
  });
}

function roleOf(role: string): readonly Scope[] {
  if (Object.hasOwn(ROLES, role)) return ROLES[role as keyof typeof ROLES];
  throw new InputError(`there is no role "${role}"`, `there are: ${Object.keys(ROLES).join(", ")}`);
}

/** `90d` from now, or a date; in epoch milliseconds. */
function timeOf(text: string): number {
  const span = spanMs(text);
  const at = span === undefined ? Date.parse(text) : Date.now() + span;
  if (Number.isFinite(at) && at > Date.now()) return at;
  throw new InputError(`--expires ${text} is no time to come`, "write 12h, 90d or 2030-01-31");
}

async function list(store: Store, json: boolean | undefined): Promise<void> {
  const keys = await listApiKeys(store);
  if (json) return print(`${jsonText(keys)}\n`);
  const rows = keys.map((key) => [
    key.id,
    key.name,
    key.tenant,
    key.scopes.join(","),
    stateOf(key),
    key.lastUsedAt === undefined ? "never" : new Date(key.lastUsedAt).toISOString(),
    String(key.requests),
    spentOf(key),
    key.rpm === undefined ? "" : `${key.rpm}/min`,
  ]);
  const heading = ["id", "name", "tenant", "scopes", "state", "last used", "requests", "spent", "rate"];
  print(`${table([heading, ...rows])}\n`);
}

function spentOf(key: ApiKey): string {
  const of = (spent = 0, max?: number, period = "") =>
    `${usd(spent)}${max === undefined ? "" : ` of ${usd(max)}`}${period}`;
  return [
    of(key.spentUsd, key.maxCostUsd),
    key.maxCostUsdPerDay !== undefined && of(key.spentUsdToday, key.maxCostUsdPerDay, " today"),
    key.maxCostUsdPerMonth !== undefined && of(key.spentUsdThisMonth, key.maxCostUsdPerMonth, " this month"),
  ]
    .filter(Boolean)
    .join(", ");
}

function stateOf({ revokedAt, expiresAt }: ApiKey): string {
  if (revokedAt !== undefined) return "revoked";
  if (expiresAt === undefined) return "valid";
  const until = new Date(expiresAt).toISOString();
  return expiresAt <= Date.now() ? "expired" : `valid until ${until}`;
}

async function revoke(store: Store, key: string): Promise<void> {
  const id = keyIdOf(key);
  if (id !== undefined && (await revokeApiKey(store, id))) return print(`${id} is revoked\n`);
  // What is given may be a secret.
  const named = id ?? (key.startsWith("gk_") ? "gk_…" : key);
  throw new InputError(`no key ${named}`, "gluellm keys list shows their ids: key_…", "unknown_key");
}
