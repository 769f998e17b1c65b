import { randomUUID } from "node:crypto";
import type { RequestHandler } from "express";
import { REQUEST_ID } from "../shared/request-names.ts";
import { within } from "../shared/within.ts";
import { ApiError } from "./api-error.ts";

/** Gives each request an id, its caller's own where that is one, and answers with it. */
export const nameRequest: RequestHandler = (request, response, next) => {
  const given = request.headers["x-request-id"];
  const id = typeof given === "string" && REQUEST_ID.test(given) ? given : `req_${randomUUID()}`;
  response.set("x-request-id", id);
  // Anthropic's clients read it from here.
  response.set("request-id", id);
  next();
};

/** The requests under way, for a server that ends in order: they may end, new ones are refused. */
export class OpenRequests {
  readonly #draining = new AbortController();
  readonly #over = new AbortController();
  #count = 0;
  #idle: (() => void) | undefined;

  /** Aborts when the server begins to drain. */
  get draining(): AbortSignal {
    return this.#draining.signal;
  }

  /** Aborts when the time for that is over. */
  get over(): AbortSignal {
    return this.#over.signal;
  }

  /** Counts a request until its answer ends; refuses it when the server drains. */
  readonly take: RequestHandler = (_request, response, next) => {
    if (this.draining.aborted) {
      response.set("connection", "close");
      throw new ApiError({
        status: 503,
        code: "draining",
        message: "the server is about to end",
        hint: "ask again; another one answers",
        retryAfterMs: 1000,
      });
    }
    this.#count += 1;
    response.once("close", () => {
      this.#count -= 1;
      if (this.#count === 0) this.#idle?.();
    });
    next();
  };

  /** Takes no further requests, gives those under way `ms`, then tells them to end. */
  async drain(ms: number): Promise<void> {
    this.#draining.abort();
    const idle = new Promise<void>((resolve) => {
      this.#idle = resolve;
    });
    if (this.#count > 0) await within(ms, idle);
    this.#over.abort();
    if (this.#count > 0) await within(LAST_WORDS_MS, idle);
  }
}

/** For the error that tells a stream's reader that the server ends. */
const LAST_WORDS_MS = 500;
