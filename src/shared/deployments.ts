import { z } from "zod";
import { sha256 } from "./digest.ts";
import { DEPLOYMENTS, type ModelRef, modelRef } from "./model-name.ts";

const MAX_DEPLOYMENTS = 10;

/** `GLUELLM_DEPLOYMENTS`: a name for models that are alike, at several entries, keys or regions. */
export const deploymentsSchema = z.record(
  z.string().regex(/^[A-Za-z][\w.-]{0,63}$/, "must be letters, digits, . _ and -"),
  z
    .array(
      z.strictObject({
        /** `entry:model`. */
        model: z.string().regex(/^[a-z][a-z0-9-]*:./, "must be written as provider:model"),
        /** How much of the calls it gets, beside the others. */
        weight: z.number().positive().max(1_000_000).default(1),
      }),
    )
    .min(1)
    .max(MAX_DEPLOYMENTS)
    .refine((list) => new Set(list.map(({ model }) => model)).size === list.length, "names a model twice"),
);
export type Deployments = Readonly<z.infer<typeof deploymentsSchema>>;

/** Returns what stands for all deployments of a name, where one model is counted by. */
export function deploymentsRef(name: string): ModelRef {
  return modelRef(DEPLOYMENTS, name);
}

/** Returns the name of the deployments that a reference stands for; undefined for a model. */
export function aliasOf({ entry, model }: ModelRef): string | undefined {
  return entry === DEPLOYMENTS ? model : undefined;
}

/**
 * Returns models in an order in which each is the first as often as its weight says. The same text draws the same order, so
 * that a call that is made again, and the turns of a conversation, have the same.
 */
export function drawnOrder(deployments: Deployments[string], text: string): string[] {
  // Of exponential waits with these rates the shortest is each one's as often as its weight says.
  const waits = deployments.map(({ model, weight }) => ({
    model,
    wait: -Math.log(shareOf(text, model)) / weight,
  }));
  return waits.sort((a, b) => a.wait - b.wait).map(({ model }) => model);
}

/** A number above 0, up to 1, that follows from the texts. */
function shareOf(text: string, model: string): number {
  return (Number.parseInt(sha256(`${model} ${text}`).slice(0, 12), 16) + 1) / 2 ** 48;
}
