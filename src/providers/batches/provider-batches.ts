import type { LLMError } from "../../shared/errors.ts";
import type { ModelRef } from "../../shared/model-name.ts";
import type { ProviderCall, ProviderReply } from "../provider.ts";

/** A request as a provider's batch carries it. */
export interface BatchRequest {
  /** The caller's name of it, unique in its batch: at most 64 letters, digits, `-` and `_`. */
  customId: string;
  body: object;
}

/** A batch as its provider tells of it. */
export interface ProviderBatch {
  id: string;
  /** `ended`: what it brought can be read. `failed`: it never began, and brings nothing. */
  state: "in_progress" | "cancelling" | "ended" | "failed";
  total: number;
  /** Rows that are done, as far as the provider tells before the end. */
  done: number;
  /** Epoch milliseconds. */
  createdAt: number;
  expiresAt: number;
  endedAt: number | undefined;
  /** Why it failed. `code`: the provider's word. */
  failure: { code: string; message: string } | undefined;
  /** What the provider needs again to read the results. */
  files: readonly string[];
}

/** What a batch brought for a request. */
export type BatchAnswer = { customId: string } & (
  | { reply: ProviderReply }
  | { error: LLMError }
  /** The provider did not get to it, and charges nothing. */
  | { unpaid: "expired" | "cancelled" }
);

/** Names a batch before it is made, so that it is known again when the answer to its making was lost. */
export interface BatchMark {
  buyId: string;
  /** Epoch milliseconds; nothing was sent before. */
  since: number;
  requests: number;
  /** The account's newest batch before, as `newest` told. */
  after?: string | undefined;
}

/** What clocks may differ by, in milliseconds: a batch that looks so much older than its mark may still be the one. */
export const CLOCK_SKEW_MS = 86_400_000;

/** The batches of one account: the same requests at half the price, answered within a day. A provider with such an API is one file. */
export interface ProviderBatches {
  maxRequests: number;
  maxBytes: number;
  /** What it costs of the price of a call. */
  priceShare: number;
  /** Returns the endpoint that a call goes to: a batch has one. */
  endpointOf(call: ProviderCall): string;
  /** Returns the body of a call. @throws InvalidRequestError for what the provider's batches cannot carry */
  bodyOf(call: ProviderCall): object;
  /** Uploads requests, where the provider wants that first; returns the file's name. It costs nothing, also twice. */
  upload?(requests: readonly BatchRequest[], endpoint: string): Promise<string>;
  /** Makes a batch, which costs money from then on. @throws LLMError; `isUnknown` says whether it may have been made */
  create(
    mark: BatchMark,
    endpoint: string,
    input: { file?: string; requests: readonly BatchRequest[] },
  ): Promise<ProviderBatch>;
  /** Returns the account's newest batch, where nothing but its place in the list tells a new one; undefined when it has none. */
  newest?(): Promise<string | undefined>;
  /**
   * Returns the batches that may be the marked one, the surest first. @throws when the list is too long to be sure. `isSure`: they carry the mark; else only time and
   * size fit, and their results tell.
   */
  find(mark: BatchMark, file: string | undefined): Promise<{ batches: ProviderBatch[]; isSure: boolean }>;
  get(id: string): Promise<ProviderBatch>;
  /** Asks a batch to end; one that has ended stays as it is. */
  cancel(id: string): Promise<void>;
  /** Returns what an ended batch brought, in any order. `callOf`: the call of a request, by its name. */
  results(batch: ProviderBatch, callOf: (customId: string) => ProviderCall): AsyncIterable<BatchAnswer>;
  close(): Promise<void>;
}

/** Returns a call of a batch's row; its times are never used. */
export function batchCall(model: ModelRef, fields: Pick<ProviderCall, "request" | "wire">): ProviderCall {
  const signal = new AbortController().signal;
  return { ...fields, model: model.model, requestId: "", timeoutMs: 0, idleTimeoutMs: 0, signal };
}
