import { z } from "zod";
import { parseJson } from "../shared/json.ts";
import type { Store } from "./store.ts";

/*
 * `:workflow-signals`: a hash, `workflow@version` → JSON of the signals that this code takes, by name. Workers write the field of each workflow
 * that declares signals when they begin; who signals a run, or shows what it takes, reads it.
 */

const schema = z.record(z.string(), z.unknown());
const signalSchema = z.object({
  /** For people: JSON Schema of the data. */
  schema,
  /** What the data surely has to fit; absent where the workflow's code alone can tell. */
  check: schema.optional(),
});
export type SignalSchema = z.infer<typeof signalSchema>;
const signalsSchema = z.record(z.string(), signalSchema);
/** By the step of a wait: the signal and what it takes, where the wait says so itself. Of a run that sleeps, in its record. */
export const waitSchemasSchema = z.record(z.string(), signalSchema.extend({ signal: z.string() }));
export type WaitSchemas = z.infer<typeof waitSchemasSchema>;
/** The signals that a workflow takes, by name. */
export type SignalSchemas = z.infer<typeof signalsSchema>;

/** Says which signals versions of workflows take. @param signals by `workflow@version` */
export async function writeSignalSchemas(
  { redis, keys }: Store,
  signals: Readonly<Record<string, SignalSchemas>>,
): Promise<void> {
  const fields = Object.entries(signals).flatMap(([name, of]) => [name, JSON.stringify(of)]);
  if (fields.length > 0) await redis.hset(keys.workflowSignalSchemas, ...fields);
}

/** Returns the signals that a version of a workflow takes, as far as workers have told it. */
export async function readSignalSchemas(
  { redis, keys }: Store,
  workflow: string,
  version: number,
): Promise<SignalSchemas> {
  const text = await redis.hget(keys.workflowSignalSchemas, `${workflow}@${version}`);
  return signalsSchema.safeParse(parseJson(text ?? "{}")).data ?? {};
}
