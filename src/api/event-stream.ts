import { once } from "node:events";
import type { Response } from "express";
import { type ErrorAnswer, errorBody, toErrorAnswer } from "./api-error.ts";
import type { VendorDialect } from "./route.ts";

const KEEP_ALIVE_MS = 15_000;
const FIRST_KEEP_ALIVE_MS = 1000;
/** What each vendor's clients pass over. */
const KEEP_ALIVE: Readonly<Record<VendorDialect, string>> = {
  openai: ": keep-alive\n\n",
  anthropic: 'event: ping\ndata: {"type":"ping"}\n\n',
};
/** A reader that takes nothing for this long has gone. */
const STALLED_MS = 60_000;

/**
 * Server-sent events. Comment lines, or Anthropic's pings, keep proxies from closing a silent stream: the first after a second, then one every
 * 15 s. The status is sent with the first event or comment, so that an error before it still has a status of its own.
 */
export class EventStream {
  readonly #response: Response;
  readonly #dialect: VendorDialect;
  #timer: NodeJS.Timeout;

  constructor(response: Response, dialect: VendorDialect) {
    this.#response = response;
    this.#dialect = dialect;
    response.setHeader("content-type", "text/event-stream; charset=utf-8");
    response.setHeader("cache-control", "no-cache, no-transform");
    response.setHeader("x-accel-buffering", "no");
    this.#timer = setTimeout(() => this.#keepAlive(), FIRST_KEEP_ALIVE_MS);
    response.once("close", () => clearTimeout(this.#timer));
  }

  /** Sends an event. Waits while the client reads slower than the answer comes. */
  async send(data: unknown, event?: string): Promise<void> {
    const text = typeof data === "string" ? data : JSON.stringify(data);
    await this.#write(`${event ? `event: ${event}\n` : ""}data: ${text}\n\n`);
  }

  /** Ends the stream. */
  end(): void {
    clearTimeout(this.#timer);
    this.#response.end();
  }

  /** Whether something was sent, so that an error has to stand inside the stream. */
  get hasBegun(): boolean {
    return this.#response.headersSent;
  }

  /**
   * Tells an error inside the stream and ends it.
   * @throws the error itself while nothing was sent, so that the answer has its status
   */
  async fail(
    error: unknown,
    toEvent: (answer: ErrorAnswer) => { data: unknown; event?: string } = this.#asVendor,
  ): Promise<void> {
    clearTimeout(this.#timer);
    if (!this.hasBegun) throw error;
    const { data, event } = toEvent(toErrorAnswer(error));
    await this.send(data, event).catch(() => {});
    this.end();
  }

  readonly #asVendor = (answer: ErrorAnswer) => {
    const data = errorBody(answer, this.#dialect, String(this.#response.getHeader("x-request-id")));
    return this.#dialect === "anthropic" ? { data, event: "error" } : { data };
  };

  #keepAlive(): void {
    // A client that does not read needs no comment.
    if (!this.#response.writableNeedDrain) this.#response.write(KEEP_ALIVE[this.#dialect]);
    this.#timer = setTimeout(() => this.#keepAlive(), KEEP_ALIVE_MS);
  }

  async #write(text: string): Promise<void> {
    if (this.#response.destroyed || this.#response.write(text)) return;
    const timeout = AbortSignal.timeout(STALLED_MS);
    try {
      await Promise.race([once(this.#response, "drain", { signal: timeout }), once(this.#response, "close")]);
    } catch {
      this.#response.destroy();
    }
  }
}
