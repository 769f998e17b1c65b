import type { Guardrail } from "../shared/guardrail.ts";
import type { Logger } from "../shared/logger.ts";
import type { Settings } from "../shared/settings.ts";
import type { Owner } from "../shared/tenant.ts";
import type { ProviderOptions } from "../shared/wire-options.ts";
import type { ConnectedStore } from "../store/connected-store.ts";
import type { OutputFormat } from "./answer-forms.ts";
import type { HostedBatch } from "./batch-end.ts";
import type { InputFormat } from "./input-form.ts";
import type { LaneOptions, OnUnknown } from "./lanes/lane-plan.ts";
import type { SampleOptions } from "./quote/sample.ts";

/** Options of a batch. */
export interface BatchOptions {
  /** The file of rows: JSON lines, a JSON array, or CSV with a header. */
  inputPath: string;
  /** Where the results go, in input order; failed rows also to `<stem>.errors.jsonl`. */
  outputPath: string;
  /** `provider:model` of the rows that name none; default: the setting DEFAULT_MODEL. */
  model?: string;
  /** How the file holds its rows; default: found by its content. */
  inputFormat?: InputFormat;
  /** The field of a plain row that holds its prompt; default `prompt`. */
  promptField?: string;
  /** Whose lines the output has; default `openai`. */
  format?: OutputFormat;
  /** Only the first rows; default all. */
  limitRows?: number;
  /** Stops at the first malformed line instead of failing that row; default false. */
  strict?: boolean;
  /** Sends rows again that failed in an earlier run; default false. */
  retryFailed?: boolean;
  /** USD that all runs of the batch may cost together; default: no limit. */
  maxCostUsd?: number;
  /** Whether rows share answers through the cache; default: those with `temperature` 0. */
  cache?: boolean;
  /** The longest provider call of a row, in milliseconds; default: the setting CALL_TIMEOUT_MS, else 120,000. */
  timeoutMs?: number;
  /** Rules on what the rows ask and what is answered, or names of rules that workers have. Such rows are bought online alone. */
  guardrails?: readonly (Guardrail | string)[];
  /** What every row says to its provider in that provider's own words; a part of the question. */
  providerOptions?: ProviderOptions;
  /** Headers of every row's call; the rows' models must be of one provider entry. */
  headers?: Readonly<Record<string, string>>;
  /** Parameters in the address of every row's call; the same holds. */
  query?: Readonly<Record<string, string>>;
}

/** The same, with how the rows may be bought. */
export interface LanedBatchOptions extends BatchOptions {
  /** By when all is to be done, and by which lanes; default: online, at once. */
  lanes?: LaneOptions | undefined;
  onUnknown?: OnUnknown | undefined;
  /** Only rows drawn evenly from all: the run ends when they have results, as one that is interrupted; default: all. */
  sample?: SampleOptions | undefined;
}

export interface BatchContext {
  settings: Settings;
  logger: Logger;
  /** Whether this process calls the providers, so that their keys must be set here. */
  keyNeeded: boolean;
  /** In whose name it is run; default: the tenant `default`. */
  owner?: Owner;
  /** Of a batch that a host runs; absent: this run takes the lease and an id by itself. */
  hosted?: HostedBatch;
  /** What a message calls `maxCostUsd`; default `maxCostUsd`. */
  costLimitName?: string;
  /** Asked for when the batch starts, and when somebody else has its files. */
  openStore: () => Promise<ConnectedStore>;
}

/** Where a run of a batch stands. */
export interface BatchProgress {
  total: number;
  succeeded: number;
  failed: number;
  /** Rows without a result. */
  missing: number;
  /** False while the rest of a large input is scanned: `total` and `missing` are of its rows so far. */
  isCounted: boolean;
  /** USD of the succeeded rows; null when the cost of one of them is not known. */
  costUsd: number | null;
}
