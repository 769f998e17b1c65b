import type { BlobRef } from "../shared/catalog.ts";
import type { ModelRef } from "../shared/model-name.ts";
import { completionQueueName } from "../shared/queue-name.ts";
import type { Endpoint } from "./answer-forms.ts";
import type { StopReason } from "./batch-end.ts";

/** A row that is in Redis and has no result yet. */
export interface InFlightRow {
  id: string;
  customId: string;
  endpoint: Endpoint;
  line: number;
  bytes: number;
  /** Epoch milliseconds after which no attempt of it starts. */
  deadlineAt: number;
  /** The request, when it lies in a blob: freed with the row. */
  blob: BlobRef | undefined;
}

const MAX_ROWS = 2000;
const MAX_BYTES = 64 * 1024 * 1024;

/** The rows of one queue that are in flight, bounded so that Redis never holds more than a window of a batch. */
export class Window {
  readonly model: ModelRef;
  readonly queue: string;
  /** By job id. */
  readonly rows = new Map<string, InFlightRow>();
  /** Rows up to this line have been sent. */
  cursor = 0;
  /** Why no further row of it is sent, and those that wait are taken back. */
  stop: StopReason | undefined;
  /** No row of the input is left to send. */
  exhausted = false;
  #bytes = 0;

  constructor(model: ModelRef) {
    this.model = model;
    this.queue = completionQueueName(model);
  }

  /** How many more rows may be sent now. */
  get room(): number {
    return this.#bytes >= MAX_BYTES ? 0 : MAX_ROWS - this.rows.size;
  }

  /** The first of the rows that there is room for; at least one, or a very large row would never be sent. */
  fitting<T extends { bytes: number }>(rows: readonly T[]): readonly T[] {
    let bytes = this.#bytes;
    const end = rows.findIndex((row) => {
      bytes += row.bytes;
      return bytes > MAX_BYTES;
    });
    return end < 0 ? rows : rows.slice(0, Math.max(1, end));
  }

  /** Rows of the input that were passed over are looked at again. */
  rescan(): void {
    this.cursor = 0;
    this.exhausted = false;
  }

  add(jobId: string, row: InFlightRow): void {
    this.delete(jobId);
    this.rows.set(jobId, row);
    this.#bytes += row.bytes;
  }

  delete(jobId: string): InFlightRow | undefined {
    const row = this.rows.get(jobId);
    if (row) {
      this.rows.delete(jobId);
      this.#bytes -= row.bytes;
    }
    return row;
  }
}

/** The windows of a batch, one for each model that its rows name. */
export class Windows {
  readonly all: Window[] = [];

  /** Adds those of models that it does not know; `models` only grows. */
  addNew(models: readonly ModelRef[]): void {
    for (const model of models.slice(this.all.length)) this.all.push(new Window(model));
  }

  get inFlight(): number {
    return this.all.reduce((sum, window) => sum + window.rows.size, 0);
  }

  /** Returns the row in flight of this job. */
  find(jobId: string): InFlightRow | undefined {
    for (const { rows } of this.all) {
      const row = rows.get(jobId);
      if (row) return row;
    }
    return undefined;
  }

  /** Takes a row out, whose window has room again; returns it. */
  delete(jobId: string): InFlightRow | undefined {
    for (const window of this.all) {
      const row = window.delete(jobId);
      if (row) return row;
    }
    return undefined;
  }

  /** Returns the queue of a model that has a window. */
  queueOf(modelKey: string | undefined): string | undefined {
    return this.all.find(({ model }) => model.key === modelKey)?.queue;
  }
}
