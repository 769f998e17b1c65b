import { DEPLOYMENTS, type ModelRef, modelRef } from "./model-name.ts";

const PREFIX = "completions.";

/** Jobs that name several models. It belongs to none of them, so no provider's pause stops it. */
export const ROUTE_QUEUE = `${PREFIX}route`;

/**
 * The queue of a model: `completions.<entry>.<model>`, the model percent-encoded so that the name is reversible. Jobs of
 * deployments name several models.
 */
export function completionQueueName({ entry, model }: ModelRef): string {
  if (entry === DEPLOYMENTS) return ROUTE_QUEUE;
  // encodeURIComponent leaves !'()*~ as they are; BullMQ forbids only ":", globs need "*" free.
  const encoded = encodeURIComponent(model).replace(
    /[!'()*~]/g,
    (char) => `%${char.charCodeAt(0).toString(16)}`,
  );
  return `${PREFIX}${entry}.${encoded}`;
}

/** The model a queue serves, or undefined for a queue of another kind. */
export function parseCompletionQueueName(queue: string): ModelRef | undefined {
  const match = /^completions\.([^.]+)\.(.+)$/.exec(queue);
  if (!match?.[1] || !match[2]) return undefined;
  try {
    return modelRef(match[1], decodeURIComponent(match[2]));
  } catch {
    return undefined;
  }
}

/** Whether it can be a queue's name: BullMQ allows no colon, and ours need no control characters or more than 500. */
export function isQueueName(name: string): boolean {
  return /^[^:\p{C}]{1,500}$/u.test(name);
}
