import { z } from "zod";
import { surelyOfZod } from "../calls/zod-schema.ts";
import { compileSchema } from "../shared/compile-schema.ts";
import { InputError, InvalidRequestError } from "../shared/errors.ts";
import { parseJson } from "../shared/json.ts";
import type { JsonSchema } from "../shared/json-schema.ts";
import { readRunJournal } from "../store/run-journal.ts";
import type { RunRecord } from "../store/run-record.ts";
import {
  readSignalSchemas,
  type SignalSchema,
  type SignalSchemas,
  type WaitSchemas,
  waitSchemasSchema,
  writeSignalSchemas,
} from "../store/signal-schemas.ts";
import type { Store } from "../store/store.ts";
import { signalAnswers } from "./signal-answers.ts";
import type { AnyWorkflow } from "./workflow.ts";

/** A signal that a run takes. */
export interface RunSignal {
  name: string;
  /** Whether the run waits for it now. */
  isWaiting: boolean;
  /** JSON Schema of its data; undefined when the workflow declares none. */
  schema: JsonSchema | undefined;
}

const MAX_FAULTS = 3;
const WAITS_FOR = /^signal "(.*)"(?: until \S+)?$/s;

/** Tells the fleet which signals workflows take. */
export async function announceSignals(store: Store, workflows: Iterable<AnyWorkflow>): Promise<void> {
  const told = [...workflows].flatMap((workflow) =>
    workflow.signals ? [[`${workflow.name}@${workflow.version}`, schemasOf(workflow.signals)] as const] : [],
  );
  await writeSignalSchemas(store, Object.fromEntries(told));
}

function schemasOf(signals: NonNullable<AnyWorkflow["signals"]>): SignalSchemas {
  return Object.fromEntries(Object.entries(signals).map(([name, schema]) => [name, signalSchemaOf(schema)]));
}

const madeOf = new WeakMap<z.ZodType, SignalSchema>();

/** Returns what is told to the fleet of a signal's data. */
export function signalSchemaOf(schema: z.ZodType): SignalSchema {
  const known = madeOf.get(schema);
  if (known) return known;
  const check = checkOf(schema);
  const made = { schema: toldOf(schema), ...(check && { check }) };
  // A run that waits with it is told of each time it goes to sleep.
  madeOf.set(schema, made);
  return made;
}

function toldOf(schema: z.ZodType): JsonSchema {
  const { $schema: _, ...told } = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" });
  return told as JsonSchema;
}

/** Of dates, maps and the like JSON Schema says nothing. */
function checkOf(schema: z.ZodType): JsonSchema | undefined {
  try {
    return surelyOfZod(schema);
  } catch {
    return undefined;
  }
}

/**
 * Checks the data of a signal against what the wait says that gets it, or else against what the run's workflow declares; one of which
 * nothing is said may bring anything, and so may one to a run that there is not (any more).
 * @throws InputError `invalid_signal` naming what does not fit
 */
export async function checkSignal(store: Store, runId: string, name: string, data: unknown): Promise<void> {
  // The rest of the record may be damaged: the signal is safe in the run's journal all the same.
  const fields = ["workflow", "version", "waitSchemas"] as const;
  const [workflow, version, waits] = await store.redis.hmget(store.keys.workflow(runId), ...fields);
  if (!workflow) return;
  const ofWaits = waitSchemasSchema.safeParse(parseJson(waits ?? "{}")).data ?? {};
  const ofWait = await schemaOfWait(store, runId, name, ofWaits);
  const check = (ofWait ?? (await readSignalSchemas(store, workflow, Number(version)))[name])?.check;
  const faults = check ? faultsOf(check, data) : [];
  if (faults.length === 0) return;
  const told = faults
    .slice(0, MAX_FAULTS)
    .map(({ instancePath, message }) => `${instancePath || "/"} ${message}`);
  throw new InputError(
    `the data of signal "${name}" does not fit: ${told.join("; ")}`,
    `gluellm workflow signals shows what the run takes`,
    "invalid_signal",
  );
}

/**
 * Returns what the wait says that gets the run's next signal of a name. Where the record is older than what has come since, that wait has
 * its signal by now, and the next one may take something else: the journal tells.
 */
async function schemaOfWait(
  store: Store,
  runId: string,
  name: string,
  waits: WaitSchemas,
): Promise<SignalSchema | undefined> {
  if (!Object.values(waits).some(({ signal }) => signal === name)) return undefined;
  const journal = await readRunJournal(store, runId).catch(() => []);
  const answers = signalAnswers(journal);
  const ended = new Set(journal.flatMap((entry) => (entry.type === "ended" ? [entry.step] : [])));
  const next = journal.find(
    (entry) =>
      entry.type === "asked" &&
      entry.kind === "signal" &&
      entry.subject === name &&
      !answers.has(entry.step) &&
      !ended.has(entry.step),
  );
  return next?.type === "asked" ? waits[next.step] : undefined;
}

/** A schema that cannot be compiled here checks nothing: the run's own code does. */
function faultsOf(check: JsonSchema, data: unknown): ReturnType<ReturnType<typeof compileSchema>> {
  try {
    return compileSchema(check, { ofZod: true })(data);
  } catch (error) {
    if (error instanceof InvalidRequestError) return [];
    throw error;
  }
}

type RunOf = Pick<RunRecord, "workflow" | "version" | "waits" | "waitSchemas">;

/** Returns the signals that a run's workflow declares, and those that it waits for, by name. */
export async function signalsOfRun(store: Store, run: RunOf): Promise<RunSignal[]> {
  const declared = await readSignalSchemas(store, run.workflow, run.version);
  const ofWaits = new Map(Object.values(run.waitSchemas).map((one) => [one.signal, one.schema]));
  const waits = new Set(run.waits.flatMap((text) => WAITS_FOR.exec(text)?.[1] ?? []));
  return [...new Set([...waits, ...Object.keys(declared)])].map((name) => ({
    name,
    isWaiting: waits.has(name),
    schema: ofWaits.get(name) ?? declared[name]?.schema,
  }));
}
