import { z } from "zod";
import { nestingOf } from "./json-schema.ts";

const MAX_SCHEMA_BYTES = 256 * 1024;
/** The deepest schema; deeper ones would overflow the stack of whoever walks them. */
const MAX_NESTING = 200;

export const outputModeSchema = z.enum(["native", "tool", "prompt"]);
/**
 * The way in which a provider is asked for JSON. `native`: by its own structured output; `tool`: by one forced tool
 * call whose parameters are the schema; `prompt`: by a system message, the JSON being read out of the text.
 */
export type OutputMode = z.infer<typeof outputModeSchema>;

/** The structured answer that a completion job asks for. */
export const outputSpecSchema = z.strictObject({
  /** What the answer is called towards the model. */
  name: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, "must be 1 to 64 letters, digits, _ or -"),
  /** JSON Schema 2020-12 of an object, at most 256 KiB. */
  schema: z.record(z.string(), z.unknown()).superRefine((schema, context) => {
    const json = JSON.stringify(schema);
    if (schema.type !== "object") context.addIssue("must be the schema of an object");
    if (Buffer.byteLength(json) > MAX_SCHEMA_BYTES) context.addIssue("is larger than 256 KiB");
    else if (nestingOf(json) > MAX_NESTING) context.addIssue(`is nested deeper than ${MAX_NESTING} levels`);
  }),
  /** The caller asked for no object: its value stands in the field `value`, since providers want an object. */
  wrapped: z.boolean().default(false),
  /** Absent: as the provider entry says. A schema that Anthropic's native mode cannot say is asked for by tool. */
  mode: outputModeSchema.optional(),
  /** Rounds that show the model what was wrong with its answer, 0 to 10. */
  maxRepairs: z.int().min(0).max(10).default(2),
});
export type OutputSpec = z.infer<typeof outputSpecSchema>;
