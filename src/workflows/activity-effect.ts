import { MAX_ACTIVITY_BYTES } from "../shared/activity-payload.ts";
import { checkWith } from "../shared/schema-check.ts";
import { encode } from "../shared/serialize.ts";
import type { AnyActivity } from "./activity.ts";
import type { Effect } from "./effect.ts";
import { tooLarge } from "./run-errors.ts";

/** Returns what is asked of the workers with an activity. @throws InputError for an input that cannot be sent */
export function activityEffect(
  activity: AnyActivity | string,
  input: unknown,
  priority: number | undefined,
): Extract<Effect, { kind: "activity" }> {
  const name = typeof activity === "string" ? activity : activity.name;
  const what = `the input of activity "${name}"`;
  // As given: its defaults and transforms are the worker's to add.
  if (typeof activity !== "string") checkWith(activity.input, input, what);
  const { json = null, isTyped } = encode(input, what, { dropsUndefined: true });
  const bytes = Buffer.byteLength(JSON.stringify(json));
  if (bytes > MAX_ACTIVITY_BYTES) throw tooLarge(what, bytes, MAX_ACTIVITY_BYTES);
  return { kind: "activity", activity: name, input: json, typed: isTyped, priority };
}
