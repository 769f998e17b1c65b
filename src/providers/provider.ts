import type { ChatCompletion, ChatRequest } from "../shared/chat.ts";
import type { StreamPiece } from "../shared/stream-events.ts";
import type { TokenCounts } from "../shared/token-counts.ts";
import type { TokenUse } from "../shared/token-use.ts";
import type { WireOptions } from "../shared/wire-options.ts";

/** Gets the pieces of an answer; after a `restart` they come from the beginning, and what came before is void. */
export type OnDelta = (piece: StreamPiece | { type: "restart" }) => void;

/** A call of a model. */
export interface ProviderCall {
  /** The provider's own name of the model. */
  model: string;
  request: ChatRequest;
  /** What it says to the provider beside the request. */
  wire?: WireOptions | undefined;
  /** Our own id, printable ASCII; sent as `X-Client-Request-Id`, so that the provider's support can find the call. */
  requestId: string;
  /** Asked for in the provider's slow and cheap tier, where the model has one. */
  isFlex?: boolean;
  /** The time of the whole call, up to the last byte of the answer. */
  timeoutMs: number;
  /** The time without a byte after which a call with `onDelta` ends. */
  idleTimeoutMs: number;
  signal: AbortSignal;
  /**
   * Gets the pieces of the answer as they come; the answer is asked for as a stream then, and the reply is the same. It
   * must not throw, and is not for a request of several choices (`n`).
   */
  onDelta?: OnDelta;
}

/** A reply in its normal form, whatever the dialect. */
export interface ProviderReply {
  statusCode: number;
  /** The provider's id of this call; the id of the answer where it names none; else empty. */
  requestId: string;
  body: ChatCompletion;
  /** The tokens that the provider reports as used, `estimated` where it does not report them. */
  tokens: TokenUse;
  /** The tokens that its limits count of this call. */
  charged: TokenCounts;
  /** Answered in the cheap tier, at its price. */
  isFlex?: boolean;
}

/** What a pool of connections has at a moment. */
export type PoolUse = Readonly<Record<"open" | "running" | "waiting", number>>;

/** One account at one provider, over a connection pool of its own. */
export interface ProviderAdapter {
  /**
   * Makes one call, which the adapter never repeats, and returns the reply.
   * @throws LLMError's subclasses for every failure of the call, with our own text only; AbortError when
   * `signal` ended it.
   */
  complete(call: ProviderCall): Promise<ProviderReply>;
  /** Returns the tokens to reserve before the call, by the provider's charge policy. */
  estimateTokens(model: string, request: ChatRequest): TokenCounts;
  /** Returns what its pool has now: connections that are open, calls on them, and calls that wait for one. */
  connections(): PoolUse;
  /** Waits for calls in flight, then closes the connections. */
  close(): Promise<void>;
}

/** Options of an adapter. */
export interface AdapterOptions {
  /**
   * The most sockets open at a time, default 512. Further calls wait for one and their time runs: keep it above the
   * number of calls that this process has in flight to the entry.
   */
  connections?: number;
  /** The variables that name proxies (`HTTPS_PROXY`, `NO_PROXY` …); default none. */
  proxyVariables?: Readonly<Record<string, string>>;
  /** Gets the headers of every answer, refusals too. */
  onHeaders?: (seen: SeenHeaders) => void;
}

/** The headers of an answer. */
export interface SeenHeaders {
  model: string;
  /** An instance of undici's class, which is not the global one. */
  headers: Pick<Headers, "get">;
  isSuccess: boolean;
  /** The time when the call was sent, by `performance.now()`. */
  sentAtMs: number;
}
