import type { ChatCompletion, ChatRequest } from "../shared/chat.ts";
import type { StreamPiece } from "../shared/stream-events.ts";
import type { TokenCounts } from "../shared/token-counts.ts";
import type { TokenUse } from "../shared/token-use.ts";

/** Told a piece of an answer. */
export type OnDelta = (piece: StreamPiece) => void;

export interface ProviderCall {
  /** The provider's own name of the model. */
  model: string;
  request: ChatRequest;
  /** Ours, printable ASCII; sent as `X-Client-Request-Id`, so that the provider's support can find the call. */
  requestId: string;
  /** The whole call's time, up to the last byte of the answer. */
  timeoutMs: number;
  signal: AbortSignal;
  /**
   * Asks for the answer as a stream, and is told its pieces as they come; it must not throw. The reply is the same as
   * without. Not for a request of several choices (`n`).
   */
  onDelta?: OnDelta;
}

export interface ProviderReply {
  statusCode: number;
  /** The provider's id of this call; its answer's id where it names none; else empty. */
  requestId: string;
  body: ChatCompletion;
  /** What the provider reports as used; zeros when it reports nothing. */
  tokens: TokenUse;
  /** What its limits count of this call, where it reports any use. */
  charged: TokenCounts | undefined;
}

/** One account at one provider, over a connection pool of its own. */
export interface ProviderAdapter {
  /**
   * One call, never repeated by the adapter.
   * @throws LLMError's subclasses for every failure of the call, with our own text only; AbortError when
   * `signal` ended it.
   */
  complete(call: ProviderCall): Promise<ProviderReply>;
  /** Tokens to reserve before the call, by the provider's charge policy. */
  estimateTokens(model: string, request: ChatRequest): TokenCounts;
  /** Waits for calls in flight, then closes the connections. */
  close(): Promise<void>;
}

export interface AdapterOptions {
  /**
   * Most sockets open at a time, default 512. Further calls wait for one and their time runs: keep it above the
   * number of calls that this process has in flight to the entry.
   */
  connections?: number;
  /** Told of every answer with headers, refusals too. */
  onHeaders?: (seen: SeenHeaders) => void;
}

export interface SeenHeaders {
  model: string;
  /** Of undici's class, which is not the global one. */
  headers: Pick<Headers, "get">;
  isSuccess: boolean;
  /** When the call was sent, by `performance.now()`. */
  sentAtMs: number;
}
