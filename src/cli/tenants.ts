import type { Command } from "commander";
import { readTenantUse, type TenantUse } from "../producers/tenant-use.ts";
import { InputError } from "../shared/errors.ts";
import { loadSettings } from "../shared/settings.ts";
import { usd } from "../shared/usd.ts";
import type { Store } from "../store/store.ts";
import { damagedHint, listTenants, removeTenant, saveTenant, type TenantSettings } from "../store/tenant.ts";
import { loggerOf } from "../telemetry/logging.ts";
import { openRedis } from "./compose.ts";
import { spanMs, table } from "./options.ts";
import { jsonText, print } from "./output.ts";

/** What takes a setting away; commander makes an empty text of a null. */
const NONE = "none";

/** Options of `set`, and the setting of each. */
const SETTINGS = [
  ["weight", "weight", "part of a queue in which others wait too, beside their weights (default: 1)"],
  ["rpm", "rpm", "provider calls per minute, over all models"],
  ["tpm", "tpm", "their tokens per minute"],
  ["max-in-flight", "maxInFlight", "provider calls at a time"],
  ["max-queued-jobs", "maxQueuedJobs", "jobs that wait or run, without rows of batches"],
  ["max-usd-per-day", "maxCostUsdPerDay", "what its calls may cost in a day by UTC"],
  ["max-usd-per-month", "maxCostUsdPerMonth", "what they may cost in a month by UTC"],
  ["result-days", "resultDays", "days for which results of single calls stay, at most those of all"],
  ["failed-days", "failedDays", "the same of failed jobs with their results"],
  ["conversation-days", "conversationDays", "the same of conversations after their last message"],
  ["run-days", "runDays", "the same of ended runs"],
  ["history-days", "historyDays", "days for which rows of the history stay, instead of those of all"],
  ["history-content-days", "historyContentDays", "the same of their prompts, answers and error messages"],
  ["history-max-rows", "historyMaxRows", "the most rows in each table of the history"],
] as const satisfies readonly (readonly [string, keyof TenantSettings, string])[];

/** `gluellm tenants list|set|remove|usage`: the parts and limits of those who share a fleet. */
export function addTenantsCommands(program: Command): void {
  const tenants = program.command("tenants").description("Parts and limits of those who share a fleet.");
  tenants
    .command("list")
    .description("Show the tenants that have settings.")
    .option("--json", "as JSON")
    .action(({ json }) => withStore((store) => list(store, json)));
  const set = tenants
    .command("set <name>")
    .description(
      "Set a tenant's part, limits and retention; what is not named stays, and `none` in the place of a number takes a setting away.",
    );
  for (const [option, , about] of SETTINGS) set.option(`--${option} <n>`, about, limit);
  set.action((name: string, options: Record<string, number | typeof NONE>) =>
    withStore((store) => change(store, name, options)),
  );
  tenants
    .command("remove <name>")
    .description("Forget a tenant's settings. Its jobs stay.")
    .action((name: string) => withStore((store) => remove(store, name)));
  tenants
    .command("usage [name]")
    .description("Show what tenants did lately, and what their limits leave.")
    .option("--since <time>", "how far back: 1h, 24h, 7d", "24h")
    .option("--json", "as JSON")
    .action((name: string | undefined, options: { since: string; json?: boolean }) =>
      withStore((store) => usage(store, name, options)),
    );
}

function limit(text: string): number | typeof NONE {
  if (text === NONE) return NONE;
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value))
    throw new InputError(`"${text}" is no number`, "write a number, or none");
  return value;
}

async function withStore(work: (store: Store) => Promise<void>): Promise<void> {
  const settings = loadSettings();
  await using host = await openRedis(settings, loggerOf(settings, "error"));
  await work(host.store);
}

async function change(
  store: Store,
  name: string,
  options: Record<string, number | typeof NONE>,
): Promise<void> {
  const given = SETTINGS.flatMap(([option, field]) => {
    const value = options[option.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())];
    return value === undefined ? [] : [[field, value === NONE ? null : value] as const];
  });
  if (given.length === 0)
    throw new InputError("nothing is set", "name at least one option; --help lists them");
  const settings = await saveTenant(store, name, Object.fromEntries(given));
  print(`${name}: ${settingsText(settings)}\n`);
}

async function remove(store: Store, name: string): Promise<void> {
  if (!(await removeTenant(store, name)))
    throw new InputError(`tenant "${name}" has no settings`, "gluellm tenants list shows those that have");
  process.stderr.write(`the settings of ${name} are gone: it has the usual part, and no limits\n`);
}

async function list(store: Store, json: boolean | undefined): Promise<void> {
  const tenants = await listTenants(store);
  const told = [...tenants].map(([tenant, settings]) => ({ tenant, ...(settings ?? { isDamaged: true }) }));
  if (json) return print(`${jsonText(told)}\n`);
  if (tenants.size === 0) return print("no tenant has settings; gluellm tenants set NAME --weight 2\n");
  print(
    `${table([["tenant", "settings"], ...[...tenants].map(([name, settings]) => [name, settingsText(settings)])])}\n`,
  );
  for (const [name, settings] of tenants)
    if (!settings) process.stderr.write(`${name}: ${damagedHint(name)}\n`);
}

async function usage(
  store: Store,
  name: string | undefined,
  { since, json }: { since: string; json?: boolean },
): Promise<void> {
  const sinceMs = spanMs(since);
  if (sinceMs === undefined) throw new InputError(`--since ${since} is no time`, "write 1h, 24h or 7d");
  const all = await readTenantUse(store, sinceMs);
  const used = all.filter(({ tenant }) => name === undefined || tenant === name);
  if (json) return print(`${jsonText(used)}\n`);
  if (used.length === 0 && name !== undefined)
    throw new InputError(
      `tenant "${name}" has no settings, and nothing of it ended in the last ${since}`,
      `known are: ${all.map(({ tenant }) => tenant).join(", ") || "none"}`,
      "unknown_tenant",
    );
  if (used.length === 0) return print(`no tenant did anything in the last ${since}\n`);
  const heading = ["tenant", "ended", "failed", "open jobs", "today", "this month"];
  print(`${table([heading, ...used.map(rowOf)])}\n`);
}

function rowOf({
  tenant,
  ended,
  failed,
  openJobs,
  settings,
  isDamaged,
  spentUsdToday,
  spentUsdThisMonth,
}: TenantUse): string[] {
  const money = (spent = 0, most?: number) => (most === undefined ? "" : `${usd(spent)} of ${usd(most)}`);
  return [
    isDamaged ? `${tenant} (settings damaged)` : tenant,
    String(ended),
    String(failed),
    settings.maxQueuedJobs === undefined ? String(openJobs) : `${openJobs} of ${settings.maxQueuedJobs}`,
    money(spentUsdToday, settings.maxCostUsdPerDay),
    money(spentUsdThisMonth, settings.maxCostUsdPerMonth),
  ];
}

function settingsText(settings: TenantSettings | undefined): string {
  if (!settings) return "damaged";
  const parts = SETTINGS.flatMap(([option, field]) =>
    settings[field] === undefined ? [] : [`${option} ${settings[field]}`],
  );
  return parts.join(", ") || "none";
}
