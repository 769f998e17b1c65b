import { randomUUID } from "node:crypto";
import type { ModelNames } from "../calls/model-chain.ts";
import { canonicalJson } from "../shared/canonical-json.ts";
import { workflowQueue } from "../shared/catalog.ts";
import { sha256 } from "../shared/digest.ts";
import { InputError } from "../shared/errors.ts";
import { encode } from "../shared/serialize.ts";
import { type Owner, storedOwner } from "../shared/tenant.ts";
import type { ProviderOptions } from "../shared/wire-options.ts";
import { clockOf } from "../store/redis-clock.ts";
import type { RunJournalEntry } from "../store/run-journal.ts";
import type { StartLimits } from "../store/run-limits.ts";
import { DEFAULT_DEADLINE_MS, type ForkPoint, inlineOrRunBlob, readRun } from "../store/run-record.ts";
import { beginRun } from "../store/run-start.ts";
import { carrierOf, type TraceCarrier } from "../telemetry/trace-context.ts";
import { inSpan } from "../telemetry/tracing.ts";
import type { FleetAccess } from "./fleet-access.ts";

export interface RunStart extends Owner {
  runId: string;
  workflow: string;
  version: number;
  input: unknown;
  priority: number;
  /** Begun inside tools: how deep. */
  nesting?: number | undefined;
  /** From now on; default 30 days. */
  deadlineMs?: number | undefined;
  /** In place of it, in epoch milliseconds by the clock of Redis: that of a parent. */
  deadlineAt?: number | undefined;
  /** Of the calls that name no model, whichever worker makes them; default: the setting DEFAULT_MODEL of who starts it. */
  defaultModel?: ModelNames | undefined;
  /** What its calls say to their providers, beside their own words. */
  providerOptions?: ProviderOptions | undefined;
  /** By which lists find it. */
  tags?: readonly string[];
  parent?: { runId: string; step: string; queue: string };
  /** How it begins; default: at once. */
  limits?: StartLimits | undefined;
  /** What the run takes as already done, with the seeds that go with it. */
  fork?: RunFork;
}

/** Returns an input as digests know it: as it was before types were kept, where that says what it is. */
export function inputDigestForm(input: unknown): unknown {
  return encode(input ?? null, "the input", { dropsUndefined: true, asText: true }).json;
}

interface RunFork {
  /** The run it is forked from, and what is changed in it: another fork must have another id. */
  of: unknown;
  seed: string;
  forks: readonly ForkPoint[];
  /** Of the run it is forked from: the names of its steps begin with it. */
  continued: number;
  entries: readonly RunJournalEntry[];
}

/**
 * Returns the id of the run that stands for the start: by the limits of its workflow it may be another one.
 * @throws InputError (`run_conflict`) when the id stands for another workflow or input; (`singleton_running`)
 */
export function startRun(fleet: FleetAccess, start: RunStart): Promise<string> {
  const attributes = () => ({ "gluellm.run.id": start.runId, "gluellm.workflow": start.workflow });
  return inSpan("gluellm.start_run", { kind: "PRODUCER", attributes }, (span) =>
    startInTrace(fleet, start, carrierOf(span)),
  );
}

async function startInTrace(fleet: FleetAccess, start: RunStart, trace: TraceCarrier): Promise<string> {
  const { store } = fleet;
  const { runId, workflow, version, priority, parent, fork } = start;
  const what = `the input of workflow "${workflow}"`;
  const { json: input, isTyped } = encode(start.input ?? null, what, { dropsUndefined: true });
  const owner = storedOwner(start);
  const asked = [workflow, isTyped ? inputDigestForm(start.input) : input, ...(fork ? [fork.of] : [])];
  // An id that another tenant's run has is taken, whatever that run is.
  const digest = sha256(canonicalJson(owner.tenant === undefined ? asked : [...asked, owner.tenant]));
  const now = await clockOf(store).fresh();
  const { deadlineAt = now + (start.deadlineMs ?? DEFAULT_DEADLINE_MS) } = start;
  const run = {
    id: runId,
    workflow,
    version,
    status: "running",
    queue: workflowQueue(workflow),
    input: JSON.stringify(await inlineOrRunBlob(store, runId, input, deadlineAt)),
    ...(start.tags?.length && { tags: JSON.stringify(start.tags) }),
    ...(isTyped && { inputTyped: "true" }),
    digest: await store.sealing.markedDigest(digest),
    ...owner,
    ...trace,
    seed: fork?.seed ?? randomUUID(),
    ...(fork && { forks: JSON.stringify(fork.forks), continued: fork.continued }),
    priority,
    ...(start.nesting !== undefined && { nesting: start.nesting }),
    defaultModel: JSON.stringify(start.defaultModel ?? fleet.settings.defaultModel),
    ...(start.providerOptions && { providerOptions: JSON.stringify(start.providerOptions) }),
    createdAt: now,
    deadlineAt,
    ...((start.deadlineMs ?? start.deadlineAt) !== undefined && { bounded: "true" }),
    ...(parent && { parentRunId: parent.runId, parentStep: parent.step }),
  };
  const standing = await beginRun(store, run, fork?.entries ?? [], ofTenant(start.limits, owner.tenant));
  const isOther = standing.outcome === "joined" || standing.isDebounced;
  if (!isOther && !(await store.sealing.isDigestOf(standing.digest, digest))) {
    throw new InputError(
      `run ${runId} was started with another workflow or input${fork ? ", or is another fork" : ""}`,
      "take a new runId for a new run",
      "run_conflict",
    );
  }
  // Who started it may have died before it added the job; adding it twice does nothing.
  const { id, startAt } = standing;
  if (standing.status === "running" && id === runId)
    await addRunJob(fleet, standing.queue, { ...start, startAt });
  else if (id !== runId) await addJobAgain(fleet, id);
  if (standing.outcome === "joined" && start.limits?.singleton?.refuses) throw singletonRunning(workflow, id);
  return id;
}

function singletonRunning(workflow: string, runId: string): InputError {
  return new InputError(
    `run ${runId} of workflow "${workflow}" goes on, and there is one at a time`,
    "wait for its end, or cancel it",
    "singleton_running",
  );
}

/** Adds the job of a run that is not over again: BullMQ no longer has it. */
export async function addJobAgain(fleet: FleetAccess, runId: string): Promise<void> {
  const run = await readRun(fleet.store, runId);
  if (run?.status !== "running") return;
  const { workflow, version, priority, parentRunId, parentStep: step = "" } = run;
  const parentRun = parentRunId === undefined ? undefined : await readRun(fleet.store, parentRunId);
  const parent = parentRun && { runId: parentRun.id, step, queue: parentRun.queue };
  await addRunJob(fleet, run.queue, { runId, workflow, version, priority, parent });
}

/** Adds the job of a run to its queue; adding it twice does nothing. */
export async function addRunJob(
  fleet: FleetAccess,
  name: string,
  start: Pick<RunStart, "runId" | "workflow" | "version" | "priority" | "parent"> & {
    startAt?: number | undefined;
  },
): Promise<void> {
  const { store } = fleet;
  const { runId, workflow, version, priority, parent, startAt } = start;
  const queue = await fleet.queues.registered(name);
  await queue.add(
    workflow,
    { v: 1, kind: "workflow", workflow, version },
    {
      jobId: runId,
      priority,
      // Before it a worker would put it to sleep.
      ...(startAt !== undefined && { delay: Math.max(0, startAt - clockOf(store).now()) }),
      // The journal tells failures of the code; what is left are faults of Redis, which pass.
      attempts: 1000,
      backoff: { type: "fixed", delay: 1000 },
      ...(parent && {
        parent: { id: parent.runId, queue: `${store.keys.prefix}:${parent.queue}` },
        ignoreDependencyOnFailure: true,
      }),
    },
  );
}

/** A run that another one's start stands for is one of the same tenant. */
function ofTenant(limits: StartLimits | undefined, tenant: string | undefined): StartLimits | undefined {
  if (!limits || tenant === undefined) return limits;
  const own = <T extends { name: string }>(limit: T | undefined) =>
    limit && { ...limit, name: limit.name.replace(":", `@${tenant}:`) };
  return { ...limits, debounce: own(limits.debounce), singleton: own(limits.singleton) };
}
