import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "commander";
import { filesOf } from "../batch/served/batch-host.ts";
import { workFolder } from "../batch/served/host-batch.ts";
import type { HistoryDatabase } from "../history/database.ts";
import { openHistory } from "../history/open-history.ts";
import { pastObjects, purgeHistory } from "../history/purge.ts";
import { counted } from "../shared/counted.ts";
import { InputError } from "../shared/errors.ts";
import { loadSettings, type Settings } from "../shared/settings.ts";
import { type PurgePlace, purgeRedis } from "../store/purge.ts";
import { type KnownObject, knownObjects, objectsOf, type PurgeTarget } from "../store/purge-targets.ts";
import type { Store } from "../store/store.ts";
import { loggerOf } from "../telemetry/logging.ts";
import { openRedis } from "./compose.ts";
import { EXIT } from "./exit.ts";
import { jsonText, print } from "./output.ts";

const KINDS = ["tenant", "conversation", "run", "batch", "job"] as const;

interface Options extends Partial<Record<PurgeTarget["kind"], string>> {
  dryRun?: boolean;
  force?: boolean;
  json?: boolean;
}

/** What was found, and is gone unless it was only looked for. */
interface PurgeReport {
  target: PurgeTarget;
  isDryRun: boolean;
  /** How many objects of each kind. */
  objects: Record<string, number>;
  /** Keys of Redis, and parts of other keys. */
  keys: number;
  parts: number;
  rows: Partial<Record<string, number>>;
  files: number;
  /** What a search afterwards has found all the same: it should be none. */
  left: PurgePlace[];
  notes: string[];
}

/** `gluellm purge`: removes all of a tenant, conversation, run, batch or job, wherever it is. */
export function addPurgeCommand(program: Command): void {
  program
    .command("purge")
    .description(
      "Remove everything of one tenant, conversation, run, batch or job: Redis, history, files. It cannot be undone.",
    )
    .option("--tenant <name>", "all that belongs to it, with its keys, settings and webhooks")
    .option("--conversation <id>", "with its jobs; of a tenant but default: TENANT/ID")
    .option("--run <id>", "with its steps, their jobs, and the runs below it")
    .option("--batch <id>", "with its rows")
    .option("--job <id>", "one that is no part of any of these")
    .option("--dry-run", "say what there is, and remove nothing")
    .option("--force", "also what has not ended")
    .option("--json", "as JSON")
    .action(purge);
}

async function purge(options: Options): Promise<void> {
  const target = targetOf(options);
  const settings = loadSettings();
  await using host = await openRedis(settings, loggerOf(settings, "error"));
  const history = settings.history.enabled ? await openHistory(settings) : undefined;
  try {
    const report = await remove(host.store, history, settings, target, options);
    print(options.json ? `${jsonText(report)}\n` : reportText(report));
    if (report.left.length > 0) process.exitCode = EXIT.rowsFailed;
  } finally {
    await history?.close();
  }
}

function targetOf(options: Options): PurgeTarget {
  const given = KINDS.flatMap((kind) => (options[kind] === undefined ? [] : [{ kind, id: options[kind] }]));
  const [target, ...more] = given;
  if (target && more.length === 0 && target.id !== "") return target;
  throw new InputError(
    "one thing is to be named",
    `give one of ${KINDS.map((kind) => `--${kind}`).join(", ")}`,
  );
}

async function remove(
  store: Store,
  history: HistoryDatabase | undefined,
  settings: Settings,
  target: PurgeTarget,
  { dryRun = false, force = false }: Options,
): Promise<PurgeReport> {
  const known = await knownObjects(store);
  if (history) known.push(...(await pastObjects(history, target)));
  const objects = objectsOf(target, known);
  if (objects.length === 0 && target.kind !== "tenant")
    throw new InputError(`there is no ${target.kind} ${target.id}`, undefined, "nothing_to_purge");
  refuseParts(target, objects);
  const open = objects.filter(({ isOpen }) => isOpen);
  if (open.length > 0 && !force && !dryRun)
    throw new InputError(
      `${counted(open.length, "object")} of it have not ended, such as ${open[0]?.kind} ${open[0]?.id}`,
      "cancel them first, or remove them as they are: --force",
      "purge_open",
    );
  const removes = !dryRun;
  const places = await purgeRedis(store, { target, objects, removes });
  const rows = history ? await purgeHistory(history, { target, objects, removes }) : {};
  const files = await purgeFiles(store, settings, objects, removes);
  // The proof: what is still there, by the same search as before.
  const left = removes ? await purgeRedis(store, { target, objects, removes: false }) : [];
  const kinds = Map.groupBy(
    new Map(objects.map((one) => [`${one.kind} ${one.id}`, one])).values(),
    ({ kind }) => kind,
  );
  return {
    ...{ target, isDryRun: dryRun, rows, files, left },
    objects: Object.fromEntries([...kinds].map(([kind, { length }]) => [kind, length])),
    keys: places.filter(({ parts }) => parts === undefined).length,
    parts: places.reduce((sum, { parts = 0 }) => sum + parts, 0),
    notes: [
      ...(history
        ? []
        : ["the history is off here: if there is one elsewhere, purge with its GLUELLM_DATABASE_URL"]),
      ...(removes ? await rewriteLog(store) : []),
    ],
  };
}

/** What others hang on cannot lose a part. */
function refuseParts({ kind, id }: PurgeTarget, objects: readonly KnownObject[]): void {
  if (kind !== "job" && kind !== "run") return;
  const above = objects.flatMap((one) => (one.id === id ? one.of.filter((other) => other !== id) : []));
  if (above.length === 0) return;
  throw new InputError(
    `${kind} ${id} is a part of ${[...new Set(above)].join(", ")}, which would not hold together without it`,
    "purge that: --run, --batch or --conversation",
    "purge_part",
  );
}

async function purgeFiles(
  store: Store,
  settings: Settings,
  objects: readonly KnownObject[],
  removes: boolean,
): Promise<number> {
  const files = new Set(objects.flatMap(({ kind, id }) => (kind === "file" ? [id] : [])));
  const batches = new Set(
    objects.flatMap(({ kind, id }) => (kind === "batch" && /^[\w-]+$/.test(id) ? [id] : [])),
  );
  if (!removes) return files.size;
  const bytes = filesOf(settings, store);
  for (const id of files) await bytes.delete(id).catch(ignoreLost);
  for (const id of batches) {
    await bytes.work?.forget(id);
    await rm(join(workFolder(settings), id), { recursive: true, force: true });
  }
  return files.size;
}

/** Ids that are no files' have no bytes. */
function ignoreLost(error: { code?: string }): void {
  if (error.code !== "file_lost") throw error;
}

/** Redis' log on the disk has what was removed until it is written anew. */
async function rewriteLog({ redis }: Store): Promise<string[]> {
  const told = await redis.info("persistence");
  if (!/^aof_enabled:1/m.test(told))
    return ["Redis' next dump is without it; earlier dumps and backups are yours to remove"];
  try {
    await redis.bgrewriteaof();
    return [
      "Redis writes its log on the disk anew, without what was removed; copies and backups are yours to remove",
    ];
  } catch (error) {
    return [`Redis' log on the disk still has it (${(error as Error).message}): run BGREWRITEAOF`];
  }
}

function reportText({
  target,
  isDryRun,
  objects,
  keys,
  parts,
  rows,
  files,
  left,
  notes,
}: PurgeReport): string {
  const found = Object.entries(objects).map(([kind, count]) => `${count} ${kind}`);
  const sql = Object.entries(rows).map(([table, count]) => `${count} ${table}`);
  const lines = [
    `${target.kind} ${target.id}: ${found.join(", ") || "no objects"}`,
    `Redis: ${counted(keys, "key")}, and ${counted(parts, "part")} of other keys`,
    `history: ${sql.join(", ") || "nothing"}; ${counted(files, "file")}`,
    isDryRun
      ? "nothing was removed: --dry-run"
      : left.length === 0
        ? "all of it is removed; a search finds nothing of it"
        : `NOT all of it is removed; still there: ${left.map(({ key }) => key).join(", ")}`,
    ...notes,
  ];
  return `${lines.join("\n")}\n`;
}
