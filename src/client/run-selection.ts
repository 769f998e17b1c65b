import { z } from "zod";
import { InputError } from "../shared/errors.ts";
import { checkWith } from "../shared/schema-check.ts";
import type { RunFilter } from "../store/run-list.ts";
import type { RunStatus } from "../workflows/run-status.ts";

/** Which runs are meant: those to which all of it applies. */
export interface RunSelection {
  state?: RunStatus["state"] | undefined;
  /** The workflow's name. */
  workflow?: string | undefined;
  /** The version of the code that began it. */
  version?: number | undefined;
  /** A tag that it was started with. */
  tag?: string | undefined;
  /** Started at or after this time; a Date or epoch milliseconds. */
  from?: Date | number | undefined;
  /** Started before this time; a Date or epoch milliseconds. */
  to?: Date | number | undefined;
}

/** The states of a run. */
export const RUN_STATES = ["running", "succeeded", "failed", "cancelled"] as const;
const [MAX_TAGS, MAX_TAG_CHARS] = [20, 200];

const tagSchema = z
  .string()
  .min(1, "a tag has at least one character")
  .max(MAX_TAG_CHARS, `a tag has at most ${MAX_TAG_CHARS} characters`)
  .refine((tag) => tag.isWellFormed() && !/\p{Cc}/u.test(tag), "a tag has no control characters");
const tagsSchema = z.array(tagSchema).max(MAX_TAGS, `at most ${MAX_TAGS} tags`);
const time = z
  .union([z.date(), z.number()], "not a Date or epoch milliseconds")
  .transform((given) => new Date(given).getTime())
  .pipe(z.number());
const selectionSchema = z.strictObject({
  state: z.enum(RUN_STATES).optional(),
  workflow: z.string().min(1).optional(),
  version: z.int().min(1).optional(),
  tag: tagSchema.optional(),
  from: time.optional(),
  to: time.optional(),
});

/** Returns a selection as the list of runs takes it. @throws InputError naming what is unknown or wrong in it */
export function checkSelection(selection: RunSelection): RunFilter {
  const filter = checkWith(selectionSchema, selection, "the selection of runs");
  const { from, to } = filter;
  if (from === undefined || to === undefined || from < to) return filter;
  throw new InputError("the selection of runs is wrong at to: it is not after from");
}

/** Returns a run's tags. @throws InputError naming the one that cannot be */
export function checkTags(tags: readonly string[]): readonly string[] {
  return checkWith(tagsSchema, [...tags], "the run's tags", "are");
}
