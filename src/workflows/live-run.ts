import { LRUCache } from "lru-cache";
import type { AgentParts } from "../shared/agent.ts";
import type { Logger } from "../shared/logger.ts";
import { checkWith } from "../shared/schema-check.ts";
import type { Settings } from "../shared/settings.ts";
import type { StepFunction } from "../shared/step-function.ts";
import { bytesOf } from "../store/blobs.ts";
import type { RunRecord } from "../store/run-record.ts";
import type { WaitSchemas } from "../store/signal-schemas.ts";
import type { CancelHandler } from "./clean-up.ts";
import { scopeOf } from "./continue-as-new.ts";
import { Execution } from "./execution.ts";
import { currentContext, RunContext } from "./run-context.ts";
import { Seeds } from "./seeds.ts";
import { signalSchemaOf } from "./signal-schemas.ts";
import { StepPace } from "./step-pace.ts";
import type { AnyWorkflow } from "./workflow.ts";

const MAX_WAITS_SHOWN = 20;
/** What keeps one call mostly keeps all of them. */
const MAX_CALLS_SHOWN = 5;

/** A run's function in this process's memory. */
export interface LiveRun {
  execution: Execution;
  metadata: Map<string, unknown>;
  /** What the function has set is not in the run's record yet. */
  isMetadataNew: boolean;
  /** The fields by which the run's record says what it waits for. */
  shown: readonly string[];
  cancelHandlers: CancelHandler[];
  pace: StepPace;
}

/** What an empty function takes, its contexts and promises. */
const FUNCTION_BYTES = 12_000;
/** A run that sleeps for longer, or goes on elsewhere, is replayed when it comes back. */
const KEPT_MS = 10 * 60_000;

/**
 * The functions of runs that are asleep, so that those which wake here soon need no replay: the last ones, by the run's id.
 * @param max how many at most
 * @param maxBytes of what all of them were given, as JSON
 */
export function keepLiveRuns(max: number, maxBytes: number): LRUCache<string, LiveRun> {
  return new LRUCache({
    max,
    maxSize: maxBytes,
    sizeCalculation: ({ execution }) => FUNCTION_BYTES + execution.deliveredBytes,
    ttl: KEPT_MS,
    ttlAutopurge: true,
  });
}

export interface LiveRunOptions {
  workflow: AnyWorkflow;
  run: RunRecord;
  /** As it was started with. */
  input: unknown;
  settings: Settings;
  offerParts: (parts: AgentParts) => void;
  functions: ReadonlyMap<string, StepFunction>;
  logger: Logger;
}

/** The function at its beginning; a turn starts it. */
export function createLiveRun({ workflow, run, input, ...options }: LiveRunOptions): LiveRun {
  const metadata = new Map<string, unknown>();
  const cancelHandlers: CancelHandler[] = [];
  const startedAt = run.continuedAt ?? run.createdAt;
  const execution = new Execution(startedAt, scopeOf(run), async () => {
    const checked = checkWith(workflow.input, input, `the input of workflow "${workflow.name}"`);
    const { id: runId, version } = run;
    const seeds = new Seeds(run.seed, run.forks);
    const shared = {
      runId,
      version,
      seeds,
      execution,
      metadata,
      cancelHandlers,
      signals: workflow.signals,
      counts: new Map<string, number>(),
    };
    const onMetadata = () => {
      if (execution.isReplaying) return;
      live.isMetadataNew = true;
      execution.activity.wake();
    };
    const { guardrails } = workflow;
    const defaults = { model: run.defaultModel, providerOptions: run.providerOptions, guardrails };
    const checkInput = (next: unknown) => {
      checkWith(workflow.input, next, `the input of workflow "${workflow.name}"`);
    };
    const context = new RunContext({ ...shared, ...options, defaults, checkInput, onMetadata });
    return currentContext.run(context, () => workflow.run(context, checked));
  });
  Object.assign(execution.totals, run.carried);
  execution.deliveredBytes = bytesOf(run.input);
  const pace = new StepPace();
  const live: LiveRun = { execution, metadata, cancelHandlers, isMetadataNew: false, shown: [], pace };
  return live;
}

/** Fields of the run's record that show how it stands, of its sums those that the record does not have. */
export function standingOf({ execution, metadata }: LiveRun, run: RunRecord): string[] {
  const sums = Object.entries(execution.totals) as [keyof typeof execution.totals, number][];
  const totals = sums.flatMap(([field, sum]) => (sum === run[field] ? [] : [field, String(sum)]));
  if (metadata.size === 0) return totals;
  return [...totals, ...metadataFields({ metadata })];
}

/** Fields of the record of a run that goes to sleep: how it stands, and what it waits for. */
export function sleepingOf(live: LiveRun, run: RunRecord): string[] {
  const { execution } = live;
  const waiting = {
    waits: waitsOf(execution).slice(0, MAX_WAITS_SHOWN),
    waitSchemas: waitSchemasOf(execution),
    calls: callsOf(execution),
    activities: activitiesOf(execution),
  };
  const names = Object.keys(waiting) as (keyof typeof waiting)[];
  const shown = names.filter((name) => isSome(waiting[name]));
  // What an earlier sleep has shown is taken back.
  const stale = names.filter((name) => isSome(run[name]) || live.shown.includes(name));
  live.shown = shown;
  const fields = [...new Set([...shown, ...stale])];
  return [...standingOf(live, run), ...fields.flatMap((name) => [name, JSON.stringify(waiting[name])])];
}

function isSome(list: object): boolean {
  return Object.keys(list).length > 0;
}

/** Fields of the run's record that show what the function has set. */
export function metadataFields({ metadata }: Pick<LiveRun, "metadata">): string[] {
  return ["metadata", JSON.stringify(Object.fromEntries(metadata))];
}

/** The names of the activities that are asked for and have not ended. */
function activitiesOf(execution: Execution): string[] {
  const open = execution
    .pending()
    .flatMap(({ kind, subject }) => (kind === "activity" ? (subject ?? []) : []));
  return [...new Set(open)];
}

/** What open waits say themselves that their signals bring, by step. */
function waitSchemasOf(execution: Execution): WaitSchemas {
  const found = execution.pending().flatMap(({ id, subject = "", effect }) => {
    const schema = effect.kind === "signal" ? effect.schema : undefined;
    return schema ? [[id, { signal: subject, ...signalSchemaOf(schema) }] as const] : [];
  });
  return Object.fromEntries(found);
}

/** The jobs of the first model calls that are asked for and have not ended. */
function callsOf(execution: Execution): string[] {
  const open = execution
    .pending()
    .flatMap(({ kind, asked }) => (kind === "completion" ? (asked?.job ?? []) : []));
  return open.slice(0, MAX_CALLS_SHOWN);
}

/** What a run waits for that sleeps, beside its own calls and child runs, for people. */
function waitsOf(execution: Execution): string[] {
  return execution.pending().flatMap(({ id, kind, subject, asked }) => {
    const until = asked?.until === undefined ? "" : ` until ${new Date(asked.until).toISOString()}`;
    if (kind === "signal") return [`signal "${subject}"${until}`];
    return kind === "sleep" ? [`its sleep "${id}"${until}`] : [];
  });
}
