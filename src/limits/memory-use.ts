import { totalmem } from "node:os";
import { constants, type PerformanceEntry, PerformanceObserver, performance } from "node:perf_hooks";
import { getHeapSpaceStatistics, getHeapStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

const MEBIBYTE = 2 ** 20;
const COLLECT_MS = 2000;

export interface MemoryUseOptions {
  /** The bytes that the process may hold in all; default: its container's limit, if it has one. */
  maxRssBytes?: number | undefined;
  /** It is called after every major garbage collection, once its effect is counted. */
  onCollected: () => void;
}

/**
 * Measures how much memory this process really needs. The heap is measured right after garbage collections, since before them
 * it may be garbage for the most part; resident memory is counted without the heap's pages that hold none.
 */
export class MemoryUse implements Disposable {
  readonly #options: MemoryUseOptions;
  readonly #observer: PerformanceObserver;
  readonly #maxRssBytes: number;
  #maxHeapBytes = maxOldGenerationBytes();
  #liveHeapBytes = Number.POSITIVE_INFINITY;
  #rssBytes = 0;
  #collectedAtMs = Number.NEGATIVE_INFINITY;
  #collectionMs = 0;

  constructor(options: MemoryUseOptions) {
    this.#options = options;
    this.#maxRssBytes = options.maxRssBytes ?? containerBytes();
    this.#observer = new PerformanceObserver((list) => {
      if (list.getEntries().some(isMajorCollection)) this.#onCollected();
    });
    this.#observer.observe({ entryTypes: ["gc"] });
    this.sample();
  }

  /** The share in use of the heap's limit or of that of resident memory, the larger: 0 to 1. */
  get share(): number {
    return Math.min(
      1,
      Math.max(this.#liveHeapBytes / this.#maxHeapBytes, this.#rssBytes / this.#maxRssBytes),
    );
  }

  /** The figures for the log, in mebibytes. */
  get figures(): Record<string, number | undefined> {
    const mebibytes = (bytes: number) => (Number.isFinite(bytes) ? Math.round(bytes / MEBIBYTE) : undefined);
    return {
      memoryShare: Math.round(this.share * 100) / 100,
      heapMb: mebibytes(this.#liveHeapBytes),
      maxHeapMb: mebibytes(this.#maxHeapBytes),
      residentMb: mebibytes(this.#rssBytes),
      maxResidentMb: mebibytes(this.#maxRssBytes),
    };
  }

  /** Measures now. */
  sample(): void {
    this.#liveHeapBytes = Math.min(this.#liveHeapBytes, oldGenerationBytes());
    try {
      const { rss, heapTotal } = process.memoryUsage();
      this.#rssBytes = rss - Math.max(0, heapTotal - this.#liveHeapBytes);
    } catch {
      // `/proc` is hidden, or no file can be opened: what was known stands, and the heap is measured all the same.
    }
  }

  /**
   * Collects garbage and measures, unless this was done lately or takes so long that it would be a twentieth of the time. A process
   * that takes no jobs allocates nothing, so V8 would see no reason to, and the memory would stay short; and what becomes
   * garbage while V8 collects beside the program counts until the next time, but not after this.
   * @returns whether the measure is exact now
   */
  collect(): boolean {
    if (performance.now() - this.#collectedAtMs < Math.max(COLLECT_MS, 20 * this.#collectionMs)) return false;
    const startedAtMs = performance.now();
    collectGarbage();
    this.#collectedAtMs = performance.now();
    this.#collectionMs = this.#collectedAtMs - startedAtMs;
    this.#liveHeapBytes = oldGenerationBytes();
    this.sample();
    return true;
  }

  [Symbol.dispose](): void {
    this.#observer.disconnect();
  }

  #onCollected(): void {
    this.#liveHeapBytes = oldGenerationBytes();
    // So the limit was guessed too low.
    if (this.#liveHeapBytes > 1.1 * this.#maxHeapBytes)
      this.#maxHeapBytes = getHeapStatistics().heap_size_limit;
    this.sample();
    this.#options.onCollected();
  }
}

function isMajorCollection(entry: PerformanceEntry): boolean {
  const { detail } = entry as PerformanceEntry & { detail?: { kind?: number } };
  return detail?.kind === constants.NODE_PERFORMANCE_GC_MAJOR;
}

/** Returns the bytes of the heap without the space of new objects, most of which are garbage. */
function oldGenerationBytes(): number {
  return getHeapSpaceStatistics()
    .filter(({ space_name }) => !space_name.startsWith("new"))
    .reduce((bytes, space) => bytes + space.space_used_size, 0);
}

/**
 * Returns the limit of the old objects in bytes. V8 states the limit of all spaces and fails at that of old objects, `--max-old-space-size`. The difference is V8's
 * default for new objects, 3/64 of its default for old ones: a quarter of the machine's memory, at most 2 GB, or 4 GB
 * from 15 GB on.
 */
function maxOldGenerationBytes(): number {
  const { heap_size_limit: limit } = getHeapStatistics();
  const machineBytes = Math.min(totalmem(), containerBytes());
  const defaultBytes = Math.min(
    machineBytes / 4,
    (machineBytes >= 15 * 1024 * MEBIBYTE ? 4096 : 2048) * MEBIBYTE,
  );
  const newBytes = (defaultBytes * 3) / 64;
  return newBytes < limit ? limit - newBytes : limit;
}

/** Returns the container's limit in bytes; infinity outside a container, or in one without a limit. */
function containerBytes(): number {
  const bytes = process.constrainedMemory();
  return bytes > 0 && bytes < totalmem() ? bytes : Number.POSITIVE_INFINITY;
}

function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
}
