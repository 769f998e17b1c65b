import { randomFillSync } from "node:crypto";
import { sha256 } from "../shared/digest.ts";

/** The ids of a span, which others may know before it is made. */
export interface SpanIds {
  traceId: string;
  spanId: string;
}

let given: SpanIds | undefined;

/**
 * Returns the ids of the span of a thing that several processes work on, one after the other: a job, a run, a batch. They are made of its
 * name, so that each of them knows the span which one of them ends, and a killed one leaves nothing behind that has no parent.
 * The trace counts where no caller's trace goes on.
 */
export function idsOf(name: string): SpanIds {
  const hex = sha256(name);
  return { spanId: hex.slice(0, 16), traceId: hex.slice(16, 48) };
}

/** Returns what `start` returns, which begins a span: it has these ids, where the SDK has our generator. */
export function withIds<T>(ids: SpanIds, start: () => T): T {
  given = ids;
  try {
    return start();
  } finally {
    given = undefined;
  }
}

/** Drawn at once: each draw is a call into OpenSSL, and spans that nobody keeps have ids too. */
const random = Buffer.alloc(4096);
let drawn = random.length;

function randomHex(bytes: number): string {
  if (drawn + bytes > random.length) {
    randomFillSync(random);
    drawn = 0;
  }
  drawn += bytes;
  return random.toString("hex", drawn - bytes, drawn);
}

/** Random ids, but for spans that are begun inside `withIds`. */
export const idGenerator = {
  generateTraceId: (): string => given?.traceId ?? randomHex(16),
  generateSpanId: (): string => given?.spanId ?? randomHex(8),
};
