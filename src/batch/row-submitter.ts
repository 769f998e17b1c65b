import { addJobs } from "../producers/add-jobs.ts";
import { completionJob } from "../producers/completion-job.ts";
import type { ProducerQueues } from "../producers/queues.ts";
import type { CompletionPayload } from "../shared/catalog.ts";
import { aliasOf } from "../shared/deployments.ts";
import type { Settings } from "../shared/settings.ts";
import type { Owner } from "../shared/tenant.ts";
import type { WireOptions } from "../shared/wire-options.ts";
import { isBlobRef } from "../store/blobs.ts";
import { forgetFailures } from "../store/result-record.ts";
import type { Store } from "../store/store.ts";
import { carrierOf } from "../telemetry/trace-context.ts";
import { activeSpan } from "../telemetry/tracing.ts";
import type { HostedBatch } from "./batch-end.ts";
import type { IndexRow } from "./index-row.ts";
import type { RowJobs } from "./row-jobs.ts";
import { modelsOf } from "./row-models.ts";
import type { RowReader } from "./row-reader.ts";
import type { Window } from "./window.ts";

/** Of a row's `custom_id`, on dashboards. */
const MAX_SHOWN_CHARS = 200;

interface RowSubmitterOptions {
  store: Store;
  settings: Settings;
  owner: Owner;
  queues: ProducerQueues;
  reader: RowReader;
  jobs: RowJobs;
  hosted?: HostedBatch | undefined;
  /** Of all rows; see `JobOptions`. */
  cache?: boolean;
  /** The longest provider call of a row; default: the worker's setting. */
  timeoutMs?: number;
  /** Names of the guardrails of its rows. */
  guardrails?: string[];
  /** What they say to their providers beside their requests. */
  wire?: WireOptions | undefined;
}

interface Sending {
  /** Redis may still have something of an earlier time. */
  again: boolean;
  lane: CompletionPayload["lane"];
}

/** Puts a batch's rows into Redis. */
export class RowSubmitter {
  readonly #options: RowSubmitterOptions;
  readonly #batchId: string;
  /** Rows of an earlier run that a live worker holds: sent again under this run's settings once it lets go. */
  readonly #inherited = new Map<string, Window>();

  constructor(options: RowSubmitterOptions, batchId: string) {
    this.#options = options;
    this.#batchId = batchId;
  }

  /** Sends rows and takes them into the window. */
  async send(window: Window, rows: readonly IndexRow[], { again, lane }: Sending): Promise<void> {
    const { queues } = this.#options;
    const queue = await queues.of(window.model);
    const jobs = [];
    for (const row of rows) jobs.push(await this.#take(window, row, lane));
    if (again)
      await this.#makeWay(
        window,
        jobs.map((job) => job.opts.jobId),
      );
    await addJobs(queues, queue, jobs, this.#batchId);
  }

  /** Inherited rows that no worker holds any more, as job ids. */
  async released(window: Window): Promise<string[]> {
    const queue = await this.#options.queues.of(window.model);
    const released: string[] = [];
    for (const [jobId, owner] of this.#inherited) {
      if (owner === window && (await queue.remove(jobId)) === 1) released.push(jobId);
    }
    for (const jobId of released) this.#inherited.delete(jobId);
    return released;
  }

  /** The row is no longer in flight. */
  forget(jobId: string): void {
    this.#inherited.delete(jobId);
  }

  async #take(window: Window, row: IndexRow, lane: Sending["lane"]) {
    const { store, settings, owner, reader, hosted, cache, timeoutMs, wire, guardrails = [] } = this.#options;
    const { id, customId, endpoint, line, bytes, request } = await reader.readRow(row);
    const jobId = this.#options.jobs.jobIdOf(id);
    const job = await completionJob(store, settings, {
      jobId,
      ...owner,
      ...carrierOf(activeSpan()),
      ...modelsOf(settings, window.model, jobId),
      request,
      urgency: "batch",
      batch: {
        id: this.#batchId,
        line,
        customId: customId?.slice(0, MAX_SHOWN_CHARS),
        ...(aliasOf(window.model) !== undefined && { key: window.model.key }),
      },
      cache,
      lane,
      timeoutMs,
      wire,
      ...(guardrails.length > 0 && { guardrails }),
      deadlineMs: hosted && Math.max(0, hosted.deadlineAt - Date.now()),
    });
    const blob = isBlobRef(job.data.request) ? job.data.request : undefined;
    const { deadlineAt } = job.data;
    window.add(jobId, { id, customId, endpoint, line, bytes, deadlineAt, blob });
    return job;
  }

  /**
   * BullMQ ignores an id it already has, and a worker believes the record it finds: both make way, unless a worker
   * has the job right now, or it was paid for.
   */
  async #makeWay(window: Window, jobIds: readonly string[]): Promise<void> {
    const { store, queues } = this.#options;
    const queue = await queues.of(window.model);
    const removed = await Promise.all(jobIds.map((jobId) => queue.remove(jobId)));
    jobIds.forEach((jobId, i) => {
      if (removed[i] === 0) this.#inherited.set(jobId, window);
    });
    await forgetFailures(store, jobIds);
  }
}
