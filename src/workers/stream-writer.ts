import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { OnDelta } from "../providers/provider.ts";
import type { Logger } from "../shared/logger.ts";
import { addPiece, type StreamEntry, type StreamPiece } from "../shared/stream-events.ts";
import { CLOSE_MS, within } from "../shared/within.ts";
import { appendToStream } from "../store/job-stream.ts";
import type { Store } from "../store/store.ts";

const FLUSH_MS = 50;
const RETRY_MS = 250;
/** What one attempt at a job sends at most. */
const MAX_BYTES = 4 * 1024 * 1024;

export interface StreamWriterOptions {
  store: Store;
  jobId: string;
  logger: Logger;
}

interface Call {
  token: string;
  turn: number;
  nextNumber: number;
  /** What Redis has confirmed. */
  told: StreamPiece[];
}

interface Parcel {
  call: Call;
  pieces: StreamPiece[];
  /** Once it was sent: then it is sent again as it is, since it may have arrived. */
  entry?: StreamEntry;
}

/**
 * Sends the pieces of an attempt's answer to the job's stream, those of 50 ms at a time. Nothing of it throws into the
 * call: what Redis does not take now is sent later, and what it never takes, or is beyond 4 MiB, reaches readers with
 * the result.
 */
export class StreamWriter implements AsyncDisposable {
  readonly #options: StreamWriterOptions;
  #parcels: Parcel[] = [];
  #timer: NodeJS.Timeout | undefined;
  #sending: Promise<boolean> | undefined;
  #sentAtMs = Number.NEGATIVE_INFINITY;
  #bytes = 0;
  #isClosed = false;

  constructor(options: StreamWriterOptions) {
    this.#options = options;
  }

  /** The listener of one provider call: the turn's first, or another try at it. */
  begin(turn: number): OnDelta {
    let call = this.#newCall(turn);
    const halves = { text: "", reasoning: "" };
    return (piece) => {
      if (piece.type === "restart") {
        call = this.#newCall(turn);
        halves.text = halves.reasoning = "";
      } else if (piece.type === "toolCall" || piece.type === "vendor") {
        this.#add(call, piece);
      } else {
        const text = halves[piece.type] + piece.text;
        // A character of two units that the provider tore apart is sent whole.
        const half = /[\ud800-\udbff]$/.test(text) ? text.slice(-1) : "";
        halves[piece.type] = half;
        const whole = text.slice(0, text.length - half.length);
        if (whole) this.#add(call, { type: piece.type, text: whole });
      }
    };
  }

  /** Begins a turn, or begins it anew: what of it was not sent yet is void. */
  #newCall(turn: number): Call {
    this.#parcels = this.#parcels.filter((parcel) => parcel.call.turn < turn);
    return { token: randomUUID(), turn, nextNumber: 0, told: [] };
  }

  /** Sends what is left, for at most 2 s; what is still left is sent later. */
  flush(): Promise<void> {
    return within(CLOSE_MS, this.#sendAll());
  }

  /** Flushes, and listens no more. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.flush();
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#parcels = [];
  }

  #add(call: Call, piece: StreamPiece): void {
    if (this.#isClosed) return;
    this.#bytes += bytesOf(piece);
    const isFull = this.#bytes > MAX_BYTES;
    const last = this.#parcels.at(-1);
    if (last?.call === call && !last.entry) {
      if (!isFull) addPiece(last.pieces, piece);
    } else if (!isFull || (call.nextNumber === 0 && last?.call !== call)) {
      this.#parcels.push({ call, pieces: isFull ? [] : [{ ...piece }] });
    }
    this.#schedule();
  }

  #schedule(): void {
    if (this.#timer || this.#sending || this.#isClosed || this.#parcels.length === 0) return;
    const waitMs = Math.max(0, this.#sentAtMs + FLUSH_MS - performance.now());
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.#send();
    }, waitMs);
  }

  async #sendAll(): Promise<void> {
    while (this.#parcels.length > 0) {
      if (!(await this.#send())) await delay(RETRY_MS);
    }
  }

  /** Sends the first parcel; false when Redis did not take it. */
  #send(): Promise<boolean> {
    this.#sending ??= this.#sendFirst().finally(() => {
      this.#sending = undefined;
      this.#schedule();
    });
    return this.#sending;
  }

  async #sendFirst(): Promise<boolean> {
    const [parcel] = this.#parcels;
    if (!parcel) return true;
    const { call, pieces } = parcel;
    const { store, jobId, logger } = this.#options;
    parcel.entry ??= { token: call.token, turn: call.turn, number: call.nextNumber++, pieces };
    this.#sentAtMs = performance.now();
    try {
      const outcome = await appendToStream(store, jobId, parcel.entry);
      if (outcome === "appended") this.#confirm(parcel);
      else if (outcome === "lost") this.#beginAgain(call);
      else this.#parcels = this.#parcels.filter((other) => other.call !== call);
      return true;
    } catch (error) {
      logger.debug({ fault: (error as Error).message }, "pieces of an answer are sent to its readers later");
      this.#sentAtMs = performance.now() + RETRY_MS;
      return false;
    }
  }

  #confirm(parcel: Parcel): void {
    for (const piece of parcel.pieces) addPiece(parcel.call.told, piece);
    this.#parcels = this.#parcels.filter((other) => other !== parcel);
  }

  /** Redis was restarted without its latest writes, or emptied: the turn is told from its beginning. */
  #beginAgain(call: Call): void {
    const own = this.#parcels.filter((parcel) => parcel.call === call);
    const others = this.#parcels.filter((parcel) => parcel.call !== call);
    const pieces = call.told;
    for (const piece of own.flatMap((parcel) => parcel.pieces)) addPiece(pieces, piece);
    Object.assign(call, { token: randomUUID(), nextNumber: 0, told: [] });
    this.#parcels = [{ call, pieces }, ...others];
  }
}

function bytesOf(piece: StreamPiece): number {
  if (piece.type === "vendor") return Buffer.byteLength(JSON.stringify(piece.event));
  return Buffer.byteLength(piece.type === "toolCall" ? piece.arguments : piece.text);
}
