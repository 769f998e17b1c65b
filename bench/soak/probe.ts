/**
 * Loaded into a process of the fleet (`--import`): every few seconds writes what is alive there to a file of its own in `SOAK_PROBES`. The heap is
 * collected before, so that it has no garbage in it.
 */
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { isMainThread } from "node:worker_threads";

/** What a process holds. */
export interface Held {
  heapBytes: number;
  /** Of buffers outside of the heap. */
  externalBytes: number;
  rssBytes: number;
  /** Sockets, timers, files and the like that are open. */
  handles: number;
}

const EVERY_MS = 10_000;
const { SOAK_PROBES: folder } = process.env;

// Its threads load this too.
if (folder && isMainThread) {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const path = join(folder, `${process.pid}.json`);
  setInterval(() => {
    collect();
    const { heapUsed, external, rss } = process.memoryUsage();
    const handles = process.getActiveResourcesInfo().length;
    const held: Held = { heapBytes: heapUsed, externalBytes: external, rssBytes: rss, handles };
    writeFileSync(`${path}.new`, JSON.stringify(held));
    renameSync(`${path}.new`, path);
  }, EVERY_MS).unref();
}
