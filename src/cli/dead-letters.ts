import { readFileSync } from "node:fs";
import type { Command } from "commander";
import type { GlueLLM } from "../client/glue-llm.ts";
import type {
  DropReport,
  LetterGroup,
  LetterSelection,
  ReplayOptions,
  ReplayReport,
} from "../client/letter-options.ts";
import { counted } from "../shared/counted.ts";
import { InputError } from "../shared/errors.ts";
import { isObject, parseJson } from "../shared/json.ts";
import { usd } from "../shared/usd.ts";
import { EXIT } from "./exit.ts";
import { collect, number, pastTime, table } from "./options.ts";
import { jsonText } from "./output.ts";
import { withClient } from "./workflow-client.ts";

const WHERE = ["id", "kind", "code", "model", "queue", "workflow"] as const;
const JSON_OPTION = ["--json", "as JSON"] as const;

type Report = ReplayReport | DropReport;

interface Selected {
  where?: string[];
  since?: number;
  json?: boolean;
}

interface Changing extends Selected {
  set?: string[];
  edit?: string;
  dryRun?: boolean;
  rate?: number;
}

/** `gluellm dlq list|show|replay|drop`. */
export function addDeadLetterCommands(program: Command): void {
  const dlq = program
    .command("dlq")
    .description("Dead letters: what failed for good and can be tried again.");
  selecting(dlq.command("list").description("Dead letters by their cause, with an example."))
    .option("--all", "each letter by itself")
    .action((given: Selected & { all?: boolean }) => withClient((client) => list(client, given)));
  dlq
    .command("show")
    .description("One letter, with the request of a job.")
    .argument("<id>", "the job's or the run's id")
    .option(...JSON_OPTION)
    .action((id: string, { json }: Selected) => withClient((client) => show(client, id, json)));
  changing(dlq.command("replay").description("Let letters try again; what was paid is not paid again."))
    .option("--set <model=provider:model>", "with another model: each job becomes a new one", collect)
    .option(
      "--edit <file>",
      "a JSON file with fields of the request (messages, temperature …) that take the place of its own",
    )
    .action((ids: string[], given: Changing) => change(ids, given, "replay"));
  changing(dlq.command("drop").description("Take failed jobs out of their queues.")).action(
    (ids: string[], given: Changing) => change(ids, given, "drop"),
  );
}

function selecting(command: Command): Command {
  return command
    .option(
      "--where <name=value>",
      `which: ${WHERE.join(", ")}; with commas or repeated, all must fit`,
      collect,
    )
    .option("--since <time>", "failed since then: 30m, 24h, 90d or a date", pastTime)
    .option(...JSON_OPTION);
}

function changing(command: Command): Command {
  return selecting(command.argument("[ids...]", "or the ids of letters"))
    .option("--dry-run", "only count them, and say what they may cost")
    .option("--rate <n>", "the most in a second (default: 50)", number(0.1));
}

async function list(
  client: GlueLLM,
  { all = false, json, ...given }: Selected & { all?: boolean },
): Promise<string> {
  const selection = selectionOf(given);
  if (all) {
    const letters = await client.deadLetters.list(selection);
    if (json) return jsonText(letters);
    const rows = letters.map(({ id, subject, code, failedAt, message }) => [
      ...[id, subject, code, new Date(failedAt).toISOString(), message.slice(0, 100)],
    ]);
    return rows.length === 0
      ? "no dead letters"
      : table([["ID", "OF", "CODE", "FAILED", "MESSAGE"], ...rows]);
  }
  const groups = await client.deadLetters.groups(selection);
  if (json) return jsonText(groups);
  return groups.length === 0 ? "no dead letters" : showGroups(groups);
}

function showGroups(groups: readonly LetterGroup[]): string {
  const rows = groups.map(({ count, kind, code, subject, lastAt, example }) => [
    ...[
      String(count),
      kind,
      code,
      subject,
      lastAt.toISOString(),
      kind === "batch" ? example.message : `${example.id}: ${example.message.slice(0, 100)}`,
    ],
  ]);
  return table([["COUNT", "KIND", "CODE", "OF", "LAST", "EXAMPLE"], ...rows]);
}

async function show(client: GlueLLM, id: string, json = false): Promise<string> {
  const { request, ...letter } = await client.deadLetters.show(id);
  if (json) return jsonText({ ...letter, request });
  const facts = Object.entries({ ...letter, failedAt: new Date(letter.failedAt).toISOString() });
  const lines = facts.flatMap(([name, value]) => (value == null ? [] : `${name.padEnd(10)}${value}`));
  return [...lines, ...(request === undefined ? [] : ["", jsonText(request)])].join("\n");
}

async function change(ids: string[], given: Changing, what: "replay" | "drop"): Promise<void> {
  const selection = selectionOf(given);
  const { dryRun, rate: perSecond, json } = given;
  const options: ReplayOptions = { dryRun, perSecond, ...(what === "replay" && changeOf(given)) };
  if (ids.length > 0 && Object.keys(selection).length > 0)
    throw new InputError("ids and --where do not go together", "name the letters, or say which are meant");
  await withClient(async ({ deadLetters }) => {
    const act = (selected: LetterSelection) =>
      what === "replay" ? deadLetters.replay(selected, options) : deadLetters.drop(selected, options);
    // Before anything is changed.
    for (const id of ids) await requireLetter(deadLetters, id, what);
    const reports: Report[] = [];
    for (const selected of ids.length > 0 ? ids.map((id) => ({ id })) : [selection])
      reports.push(await act(selected));
    const report = reports.reduce(sumOf);
    if (report.failed > 0) process.exitCode = EXIT.rowsFailed;
    return json ? jsonText(report) : showReport(report, what, dryRun ?? false);
  });
}

/** @throws InputError for an id of which there is no letter, or none that can be dropped */
async function requireLetter(
  letters: GlueLLM["deadLetters"],
  id: string,
  what: "replay" | "drop",
): Promise<void> {
  const { kind } = await letters.show(id);
  if (what === "drop" && kind !== "job")
    throw new InputError(
      `${id} is a ${kind}, which is not dropped`,
      `its record stays as long as those of its kind do; gluellm dlq replay ${id} tries it again`,
      "not_droppable",
    );
}

function sumOf(a: Report, b: Report): Report {
  return {
    ...a,
    matched: a.matched + b.matched,
    rows: a.rows + b.rows,
    changed: a.changed + b.changed,
    failed: a.failed + b.failed,
    failures: [...a.failures, ...b.failures],
    quoteUsd: a.quoteUsd === null || b.quoteUsd === null ? null : a.quoteUsd + b.quoteUsd,
    ...("replayed" in a && "replayed" in b && { replayed: { ...a.replayed, ...b.replayed } }),
    ...("dropped" in a && "dropped" in b && { dropped: [...a.dropped, ...b.dropped] }),
  };
}

function showReport(
  { matched, rows, changed, failed, failures, quoteUsd, ...report }: Report,
  what: string,
  isDry: boolean,
): string {
  if (isDry) {
    const cost = quoteUsd === null ? "no price is known" : `about ${usd(quoteUsd)} for their first calls`;
    const withRows = rows > 0 ? ` with ${counted(rows, "row")} of batches` : "";
    return `${counted(matched, "dead letter")}${withRows} would be ${what === "drop" ? "dropped" : `replayed: ${cost}`}`;
  }
  const replayed = "replayed" in report ? report.replayed : {};
  const renamed = Object.entries(replayed).filter(([from, to]) => from !== to);
  return [
    `${changed} of ${matched} dead letters ${what === "drop" ? "dropped" : "replayed"}${failed > 0 ? `, ${failed} could not be` : ""}`,
    ...renamed.map(([from, to]) => `${from} → ${to}`),
    ...failures.map(({ id, message }) => `${id}: ${message}`),
  ].join("\n");
}

function selectionOf({ where = [], since }: Selected): LetterSelection {
  const pairs = where.flatMap((text) => text.split(",")).map((text) => pairOf("--where", text, WHERE));
  return { ...Object.fromEntries(pairs), ...(since !== undefined && { since }) };
}

function changeOf({ set = [], edit }: Changing): Pick<ReplayOptions, "model" | "edit"> {
  return {
    ...Object.fromEntries(set.map((text) => pairOf("--set", text, ["model"]))),
    ...(edit !== undefined && { edit: editOf(edit) }),
  };
}

function pairOf(option: string, text: string, names: readonly string[]): [string, string] {
  const [, name = "", value = ""] = /^([^=]+)=(.+)$/s.exec(text.trim()) ?? [];
  if (names.includes(name)) return [name, value];
  throw new InputError(
    `${option} ${text} says nothing that is known`,
    `write ${names.map((known) => `${known}=…`).join(", ")}`,
  );
}

function editOf(path: string): Record<string, unknown> {
  let edit: unknown;
  try {
    edit = parseJson(readFileSync(path, "utf8"));
  } catch (error) {
    throw new InputError(`cannot read ${path}: ${(error as NodeJS.ErrnoException).code}`, "name a JSON file");
  }
  if (isObject(edit)) return edit;
  throw new InputError(`${path} is no JSON object`, 'write the fields that change: {"temperature": 0}');
}
