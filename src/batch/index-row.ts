import type { ModelRef } from "../shared/model-name.ts";
import type { LaneName } from "../shared/records.ts";

export type RowState = "missing" | "succeeded" | "failed";
export const STATES: readonly RowState[] = ["missing", "succeeded", "failed"];
/** Where a row's result line lies: `out_file` in the index. */
export const OUT_FILE = { none: 0, partial: 1, output: 2, orphaned: 3 } as const;

export interface IndexRow {
  /** 1-based place in the input; blank lines count. */
  line: number;
  /** The row's identity: 32 hex digits. */
  id: string;
  /** Where its line lies in the input. */
  offset: number;
  bytes: number;
  /** Which of several equal requests without custom_id it is, from 1; 0 for a row with a custom_id. */
  occurrence: number;
  /** Undefined for a malformed row, which is failed from the start. */
  model: ModelRef | undefined;
  state: RowState;
  /** Digests of its prompt's beginnings, as `beginningsOf` returns them; null: it is short. */
  beginnings: Uint8Array | null;
}

/** Of a row, whether it has a result, and of which model. */
export type RowStanding = Pick<IndexRow, "line" | "model" | "state">;

/** A row as the database has it: the model by its place, the state by its number in `STATES`. */
export interface StoredRow {
  line: number;
  id: Uint8Array;
  offset: number;
  bytes: number;
  occurrence: number;
  model: number | null;
  state: number;
  beginnings: Uint8Array | null;
}

export interface RowCounts {
  total: number;
  succeeded: number;
  failed: number;
  missing: number;
}

export function noRows(): RowCounts {
  return { total: 0, succeeded: 0, failed: 0, missing: 0 };
}

export interface IndexCounts extends RowCounts {
  /** Rows that are no valid request; part of `failed`. */
  malformed: number;
  /** By `ModelRef.key`; malformed rows belong to none. */
  models: ReadonlyMap<string, RowCounts>;
}

export interface DoneRow {
  id: string;
  failed: boolean;
  outOffset: number;
  outBytes: number;
  use?: RowUse;
}

/** What a row's answer used. */
export interface RowUse {
  prompt: number;
  completion: number;
  cached: number;
  /** Null when nobody knows. */
  costUsd: number | null;
  fromCache: boolean;
  /** How it was bought, where that was not online. */
  lane?: LaneName | undefined;
  estimated?: true | undefined;
}

/** A row as the scan finds it. */
export interface ScannedRow {
  line: number;
  offset: number;
  bytes: number;
  label: string;
  digest: string;
  customId: string | undefined;
  /** A guess at its prompt's tokens; 0 for a malformed row. */
  askedTokens?: number;
  beginnings?: Uint8Array | undefined;
}

/** What rows took on average. */
export interface UsualUse {
  /** Tokens of a prompt for each token of the guess at it. */
  perAskedToken: number;
  /** Tokens of an answer. */
  completion: number;
}
