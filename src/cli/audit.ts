import type { Command } from "commander";
import type { ChainHead } from "../history/audit-chain.ts";
import { type AuditedAct, type AuditQuery, listActs } from "../history/audit-list.ts";
import { type AuditReport, verifyAudit } from "../history/audit-verify.ts";
import type { HistoryDatabase } from "../history/database.ts";
import { openHistory } from "../history/open-history.ts";
import { counted } from "../shared/counted.ts";
import { ConfigurationError, InputError } from "../shared/errors.ts";
import { loadSettings, type Settings } from "../shared/settings.ts";
import { readAuditState, switchAuditOff } from "../store/audit.ts";
import type { Store } from "../store/store.ts";
import { loggerOf } from "../telemetry/logging.ts";
import { openRedis } from "./compose.ts";
import { EXIT } from "./exit.ts";
import { integer, pastTime, table } from "./options.ts";
import { jsonText, print } from "./output.ts";

interface VerifyOptions {
  expect?: string;
  json?: boolean;
}

/** `gluellm audit list|verify|status|off`: who did what. */
export function addAuditCommands(program: Command): void {
  const audit = program.command("audit").description("Who did what: the chain of acts in the database.");
  audit
    .command("list")
    .description("Show acts, the latest first.")
    .option("--since <time>", "from then on: 30m, 24h, 90d or a date (default: 24h)", pastTime)
    .option("--until <time>", "before then (default: now)", pastTime)
    .option("--actor <text>", "a part of who did it: a key's id, a user of the command line")
    .option("--action <text>", "a part of what was done: pause, keys, DELETE")
    .option("--target <text>", "a part of what it was done to: an id, a name")
    .option("--tenant <name>", "of this tenant")
    .option("--limit <n>", "the most acts", integer(1, 1000))
    .option("--json", "as JSON")
    .action(({ json, ...query }: AuditQuery & { json?: boolean }) =>
      withHistory(loadSettings(), async (history) => {
        const acts = await listActs(history, query);
        print(json ? `${jsonText(acts)}\n` : `${actsText(acts)}\n`);
      }),
    );
  audit
    .command("verify")
    .description(
      "Check the chain: missing entries, changed ones, and an end that is lower than it was. Exit code 1: it is not sound.",
    )
    .option("--expect <head>", "an end that an earlier check printed, <place>:<hash>, kept elsewhere")
    .option("--json", "as JSON")
    .action(verify);
  audit
    .command("status")
    .description("Show whether acts are written down, and what waits for the database.")
    .option("--json", "as JSON")
    .action(({ json }) => withStore(async (store) => print(await statusText(store, json))));
  audit
    .command("off")
    .description(
      "End the writing down of acts; a process with GLUELLM_AUDIT_KEY switches it on again at its start.",
    )
    .action(() =>
      withStore(async (store) => {
        const wasOn = await switchAuditOff(store);
        print(wasOn ? "acts are not written down any more\n" : "acts were not written down\n");
      }),
    );
}

async function verify({ expect, json }: VerifyOptions): Promise<void> {
  const settings = loadSettings();
  const { keys } = settings.audit;
  if (keys.length === 0)
    throw new ConfigurationError(
      "the audit cannot be checked without its key",
      "set GLUELLM_AUDIT_KEY to that of the workers",
      "missing_audit_key",
    );
  const expected = expect === undefined ? undefined : headOf(expect);
  await using host = await openRedis(settings, loggerOf(settings, "error"));
  await withHistory(settings, async (history) => {
    const report = await verifyAudit(host.store, history, { keys, expected });
    print(json ? `${jsonText(report)}\n` : reportText(report));
    if (report.faults.length > 0) process.exitCode = EXIT.rowsFailed;
  });
}

function headOf(text: string): ChainHead {
  const [, seq, hash] = /^(\d+):([0-9a-f]{64})$/.exec(text) ?? [];
  if (seq === undefined || hash === undefined)
    throw new InputError(
      `--expect ${text} is no end of a chain`,
      "write it as gluellm audit verify printed it",
    );
  return { seq: Number(seq), hash };
}

function reportText({ rows, first, head, waiting, faults }: AuditReport): string {
  const span =
    rows === 0 ? "the audit has no entry" : `${counted(rows, "entry", "entries")}, ${first} to ${head.seq}`;
  const lines = [
    `${span}; ${waiting} wait in Redis`,
    ...faults.map(({ seq, kind, problem }) => `${kind} at ${seq}: ${problem}`),
    faults.length === 0 ? "the chain is sound" : `the chain is NOT sound: ${faults.length} faults`,
    ...(rows > 0 ? [`its end, to be kept elsewhere: ${head.seq}:${head.hash}`] : []),
  ];
  return `${lines.join("\n")}\n`;
}

async function statusText(store: Store, json: boolean | undefined): Promise<string> {
  const state = await readAuditState(store);
  if (json) return `${jsonText(state)}\n`;
  const { since, waiting, maxWaiting, number, head } = state;
  const on =
    since === undefined
      ? "off: set GLUELLM_AUDIT_KEY where workers or the API start"
      : `on since ${new Date(since).toISOString()}`;
  return `${on}\n${counted(number, "entry", "entries")}, ${waiting} of them wait for the database${maxWaiting === undefined ? "" : ` (at most ${maxWaiting})`}; the chain ends at ${head}\n`;
}

function actsText(acts: readonly AuditedAct[]): string {
  if (acts.length === 0) return "no acts in this time; --since 7d looks further back";
  const rows = acts.map(({ seq, at, actor, role, address, tenant, action, target, outcome }) => [
    ...[String(seq), at.toISOString(), actor, role ?? "", address ?? "", tenant, action],
    ...[target ?? "", outcome ?? "not ended"],
  ]);
  const heading = ["entry", "at", "who", "role", "address", "tenant", "did", "to", "outcome"];
  return table([heading, ...rows]);
}

async function withHistory(
  settings: Settings,
  work: (history: HistoryDatabase) => Promise<void>,
): Promise<void> {
  const history = await openHistory(settings);
  try {
    await work(history);
  } finally {
    await history.close();
  }
}

async function withStore(work: (store: Store) => Promise<void>): Promise<void> {
  const settings = loadSettings();
  await using host = await openRedis(settings, loggerOf(settings, "error"));
  await work(host.store);
}
