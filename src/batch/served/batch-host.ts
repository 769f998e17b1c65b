import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { GlueError } from "../../shared/errors.ts";
import { logFault } from "../../shared/fault-log.ts";
import type { Logger } from "../../shared/logger.ts";
import type { Settings } from "../../shared/settings.ts";
import { within } from "../../shared/within.ts";
import { Lease } from "../../store/batch-lease.ts";
import type { ConnectedStore } from "../../store/connected-store.ts";
import { forgetExpiredFiles, unknownFiles } from "../../store/file-record.ts";
import { NEW_BATCH } from "../../store/served-batch.ts";
import { filesInUse, openServedBatches, runnableServedBatches } from "../../store/served-batch-list.ts";
import type { Store } from "../../store/store.ts";
import type { ByteStore } from "./byte-store.ts";
import { DirectoryByteStore } from "./directory-store.ts";
import { FileStore } from "./file-store.ts";
import { hostBatch, workFolder } from "./host-batch.ts";
import { S3Bucket } from "./s3-bucket.ts";
import { S3ByteStore } from "./s3-store.ts";

const LOOK_MS = 1000;
const SWEEP_MS = 60_000;
/** All files and folders are looked through so often. */
const SEARCH_MS = 3_600_000;
const DAY_MS = 86_400_000;
/** Batches that one process sends at a time; others wait, or another process takes them. */
const MAX_BATCHES = 32;
/** After a fault a batch is left alone for 1 s, then twice as long each time. */
const MAX_REST_MS = 60_000;
/** The time that calls in flight have when the process ends. */
const CLOSE_MS = 30_000;

export interface BatchHostOptions {
  store: ConnectedStore;
  settings: Settings;
  logger: Logger;
}

type StoreSettings = Pick<Settings, "dataDir" | "namespace" | "fileStore">;
const stores = new WeakMap<StoreSettings, ByteStore>();

/** Returns where the API's files are. */
export function filesOf(settings: StoreSettings, { sealing }: Pick<Store, "sealing">): FileStore {
  return new FileStore(byteStoreOf(settings), sealing);
}

function byteStoreOf(settings: StoreSettings): ByteStore {
  const known = stores.get(settings);
  if (known) return known;
  const { fileStore, namespace } = settings;
  const store = fileStore
    ? new S3ByteStore(new S3Bucket(fileStore), `${fileStore.prefix}${namespace}/`)
    : new DirectoryByteStore(settings);
  stores.set(settings, store);
  return store;
}

/**
 * Runs the batches of the API that no other process runs, each under its lease, and deletes files that have expired. It looks every
 * second, so that a batch whose host has died goes on within 15 s; at once, when that was on this machine.
 */
export class BatchHost {
  readonly #options: BatchHostOptions;
  readonly #files: FileStore;
  readonly #hosted = new Map<string, Promise<void>>();
  readonly #rests = new Map<string, { until: number; ms: number }>();
  readonly #closing = new AbortController();
  readonly #timers: NodeJS.Timeout[];
  readonly #listening: Promise<Disposable | undefined>;
  #looking: Promise<void> | undefined;

  /** Makes a host, once it is known that the file store can be asked. @throws ConfigurationError */
  static async start(options: BatchHostOptions): Promise<BatchHost> {
    await filesOf(options.settings, options.store).open();
    return new BatchHost(options);
  }

  private constructor(options: BatchHostOptions) {
    this.#options = options;
    this.#files = filesOf(options.settings, options.store);
    const attempt = (sweep: () => Promise<void>) => () =>
      void sweep().catch((error) => this.#complain(error, "files cannot be swept"));
    this.#timers = [
      setInterval(() => this.#begin(), LOOK_MS).unref(),
      setInterval(
        attempt(() => this.#sweep()),
        SWEEP_MS,
      ).unref(),
      setInterval(
        attempt(() => this.#search()),
        SEARCH_MS,
      ).unref(),
    ];
    // A message only saves time.
    this.#listening = options.store.notifier
      .listen({ [`batch:${NEW_BATCH}`]: () => this.#begin() })
      .catch(() => undefined);
  }

  #begin(): void {
    if (this.#closing.signal.aborted) return;
    // What Redis does not answer now is asked again.
    this.#looking ??= this.#look()
      .catch(() => {})
      .finally(() => {
        this.#looking = undefined;
      });
  }

  /** Lets calls in flight end for up to 30 s, withdraws what waits, and leaves the batches to others. */
  async close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    this.#closing.abort(new Error("the process ends"));
    await within(CLOSE_MS, Promise.all([this.#looking, ...this.#hosted.values()]));
    void this.#listening.then((listening) => listening?.[Symbol.dispose]());
  }

  async #look(): Promise<void> {
    for (const id of await runnableServedBatches(this.#options.store)) {
      if (this.#hosted.size >= MAX_BATCHES || this.#closing.signal.aborted) return;
      if (this.#hosted.has(id) || (this.#rests.get(id)?.until ?? 0) > Date.now()) continue;
      const lease = await this.#leaseOf(id);
      if (!lease) continue;
      const hosted = this.#host(id, lease).finally(() => this.#hosted.delete(id));
      this.#hosted.set(id, hosted);
    }
  }

  async #leaseOf(id: string): Promise<Lease | undefined> {
    try {
      return await Lease.acquire(this.#options.store, id);
    } catch (error) {
      if (error instanceof GlueError && error.code === "batch_leased") return undefined;
      throw error;
    }
  }

  async #host(id: string, lease: Lease): Promise<void> {
    const { store, settings, logger } = this.#options;
    const { signal } = this.#closing;
    let isDone = false;
    try {
      isDone = await hostBatch({ store, settings, logger, files: this.#files, signal }, id, lease);
    } catch (error) {
      if (!signal.aborted) this.#complain(error, `batch ${id} cannot go on now`);
    }
    await lease.release().catch(() => {});
    if (isDone) return void this.#rests.delete(id);
    const ms = Math.min(MAX_REST_MS, 2 * (this.#rests.get(id)?.ms ?? LOOK_MS / 2));
    this.#rests.set(id, { ms, until: Date.now() + ms });
  }

  async #sweep(): Promise<void> {
    const { store } = this.#options;
    for (const id of await forgetExpiredFiles(store, await filesInUse(store))) await this.#files.delete(id);
  }

  /** Finds what no record knows of. */
  async #search(): Promise<void> {
    const { store } = this.#options;
    // What was stored by a process that died before it wrote the record, or is of a Redis that was emptied.
    const old = await this.#files.storedBefore(Date.now() - DAY_MS);
    for (const id of await unknownFiles(store, old)) await this.#files.delete(id);
    await this.#sweepWork();
  }

  /** The folders of batches that ended while somebody kept their host from removing them, or whose record is gone. */
  async #sweepWork(): Promise<void> {
    const { store, settings } = this.#options;
    const begun = (await this.#files.work?.begunBefore(Date.now() - DAY_MS)) ?? [];
    const folder = workFolder(settings);
    const names = await readdir(folder).catch(() => []);
    if (begun.length + names.length === 0) return;
    // Read last: of what was found before, no batch that goes on is missing.
    const open = new Set(await openServedBatches(store));
    for (const id of begun) if (!open.has(id)) await this.#files.work?.forget(id);
    for (const name of names) {
      const { mtimeMs = Date.now() } = (await stat(join(folder, name)).catch(() => undefined)) ?? {};
      if (open.has(name) || mtimeMs > Date.now() - DAY_MS) continue;
      await rm(join(folder, name), { recursive: true, force: true });
    }
  }

  #complain(error: unknown, message: string): void {
    const { code, message: fault } = error as NodeJS.ErrnoException;
    logFault(this.#options.logger, `${message}: ${code ?? fault}`, { code, fault }, message);
  }
}
