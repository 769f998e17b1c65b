import type { LogOptions } from "./log-helpers.ts";
import { getLogger } from "./logging.ts";
import { inSpan } from "./tracing.ts";

/** The memory of a process over a span of work, in bytes. */
export interface MemoryFigures {
  /** Of the heap at the begin, at the end, and the most that was seen. */
  heapBefore: number;
  heapAfter: number;
  heapPeak: number;
  /** Of all that the process holds. */
  residentBefore: number;
  residentAfter: number;
  residentPeak: number;
  /** The most other spans of the process at the same time: 0 when what grew was this one's, as far as spans tell. */
  others: number;
}

/** Options of a span of memory. */
export interface MemoryOptions extends LogOptions {
  /** The growth at the peak, in bytes, from which the line is a warning; default none. */
  maxGrowthBytes?: number;
  /** How often memory is looked at, in milliseconds; default 50. */
  sampleMs?: number;
  /** Gets the figures at the end. */
  onEnd?: (figures: MemoryFigures) => void;
}

const MEBIBYTE = 2 ** 20;
/** The spans that are open in this process. */
const open = new Set<{ others: number }>();

/**
 * Does work and says how the memory of the process went meanwhile: one line in the log, with the job's fields when it is a tool's or an
 * activity's, and a span of the trace. Jobs share a process: what others allocate at the same time counts too (`others` says how many
 * such spans there were), and so does garbage that nobody has collected yet.
 *
 * ```ts
 * const rows = await memoryContext("parse", () => parseAll(file), { maxGrowthBytes: 200 * 2 ** 20 });
 * ```
 */
export async function memoryContext<T>(
  name: string,
  work: () => Promise<T> | T,
  { logger = getLogger(), level = "debug", maxGrowthBytes, sampleMs = 50, onEnd }: MemoryOptions = {},
): Promise<T> {
  const before = process.memoryUsage();
  const peak = { heap: before.heapUsed, resident: before.rss };
  const look = () => {
    const { heapUsed, rss } = process.memoryUsage();
    peak.heap = Math.max(peak.heap, heapUsed);
    peak.resident = Math.max(peak.resident, rss);
    return { heapUsed, rss };
  };
  const timer = setInterval(look, sampleMs).unref();
  const startedAt = performance.now();
  const span = { others: 0 };
  open.add(span);
  for (const one of open) one.others = Math.max(one.others, open.size - 1);
  try {
    return await inSpan(`memory ${name}`, {}, async () => work());
  } finally {
    clearInterval(timer);
    open.delete(span);
    const after = look();
    const grown = peak.heap - before.heapUsed;
    const line = {
      memory: name,
      heapMb: mebibytes(after.heapUsed),
      heapPeakMb: mebibytes(peak.heap),
      grownMb: mebibytes(grown),
      residentPeakMb: mebibytes(peak.resident),
      others: span.others,
      durationMs: Math.round(performance.now() - startedAt),
    };
    if (maxGrowthBytes !== undefined && grown > maxGrowthBytes)
      logger.warn(line, "memory grew by more than it should");
    else logger[level](line, "memory");
    onEnd?.({
      ...{ heapBefore: before.heapUsed, heapAfter: after.heapUsed, heapPeak: peak.heap },
      ...{ residentBefore: before.rss, residentAfter: after.rss, residentPeak: peak.resident },
      others: span.others,
    });
  }
}

function mebibytes(bytes: number): number {
  return Math.round((bytes / MEBIBYTE) * 10) / 10;
}
