import type { RunOptions } from "../shared/catalog.ts";
import { InputError } from "../shared/errors.ts";
import type { EnqueueOptions } from "./completion-options.ts";
import { toOutputCheck, toOutputSpec } from "./output-schema.ts";

/**
 * Returns what a call says of its structured answer; nothing when it asks for none.
 * @throws InputError (`invalid_schema`) naming what JSON Schema cannot say; InputError for its options without a
 * schema.
 */
export function toOutput({
  schema,
  schemaName,
  outputMode,
  maxRepairs,
  extra,
}: EnqueueOptions): Pick<RunOptions, "output" | "outputCheck"> {
  if (schema && extra && "response_format" in extra)
    throw new InputError("the options are wrong at extra.response_format: the schema sets it");
  if (schema) {
    const output = toOutputSpec(schema, { name: schemaName, mode: outputMode, maxRepairs });
    return { output, outputCheck: toOutputCheck(schema, output) };
  }
  const [option] =
    Object.entries({ schemaName, outputMode, maxRepairs }).find(([, value]) => value !== undefined) ?? [];
  if (option === undefined) return {};
  throw new InputError(`the options are wrong at ${option}: there is no schema`);
}
