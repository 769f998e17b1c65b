import type { Job } from "bullmq";
import { type CompletionPayload, jobCatalog } from "../shared/catalog.ts";
import { GlueError } from "../shared/errors.ts";
import type { Guardrail } from "../shared/guardrail.ts";
import { BUILT_IN } from "../shared/guardrails/built-in.ts";
import { fingerprint } from "../shared/providers.ts";
import { lostWorkers } from "../store/bullmq-internals.ts";
import { putBackMs } from "../store/put-back.ts";
import type { WorkerContext } from "./context.ts";
import type { Attempt } from "./job-attempt.ts";
import type { Verdict } from "./verdict.ts";

/*
 * What a worker can tell of a job without asking Redis.
 */

/** This worker cannot go on with the job; perhaps another one can. */
export class NotHereError extends Error {
  override name = "NotHereError";
}

/** Workers lost while they ran this job before it counts as the cause; a stall is BullMQ's count of them. */
const MAX_LOST_WORKERS = 10;

/** The verdict on a payload that this version cannot read: newer ones wait for newer workers, others fail. */
export function unreadable({ data }: Job): Verdict {
  const version = (data as { v?: unknown } | undefined)?.v;
  if (typeof version === "number" && version > jobCatalog.completion.version) {
    return putBack(`needs a worker that reads payload version ${version}`);
  }
  const error = new GlueError({
    code: "invalid_payload",
    category: "input",
    message: "the job's data is not a completion request",
    hint: "enqueue through GlueLLM's producers",
  });
  return { kind: "fail", error };
}

/** The verdict on a job that this worker cannot run; undefined when it can. */
export function barred({ context, job }: Attempt, payload: CompletionPayload): Verdict | undefined {
  // Which of several models it calls, its journal says.
  const lack = payload.fallbacks ? undefined : lackOf(context, payload.provider);
  if (lack) return lack;
  const lacking = (payload.tools ?? []).filter((name) => !context.tools.has(name));
  if (lacking.length > 0) return putBack(`a worker with the tool ${lacking.join(", ")}`);
  const agents = (payload.agents ?? [])
    .filter(({ name }) => !context.agents.has(name))
    .map(({ name }) => name);
  if (agents.length > 0) return putBack(`a worker with the agent ${agents.join(", ")}`);
  const guardrails = (payload.guardrails ?? []).filter((name) => !guardrailOf(context, name));
  if (guardrails.length > 0) return putBack(`a worker with the guardrail ${guardrails.join(", ")}`);
  if (payload.steps !== undefined && !context.steps.has(payload.steps))
    return putBack(`a worker with the steps ${payload.steps}`);
  const lost = lostWorkers(job);
  return lost >= MAX_LOST_WORKERS ? workersLost(lost) : undefined;
}

/** Returns a guardrail by its name: one of the modules, else one of ours. */
export function guardrailOf({ guardrails }: WorkerContext, name: string): Guardrail | undefined {
  return guardrails.get(name) ?? BUILT_IN.get(name);
}

/** The verdict on a call to an entry that this worker does not have as the producer has it, or lacks the key of. */
export function lackOf(
  { settings }: WorkerContext,
  { entry, fingerprint: wanted }: CompletionPayload["provider"],
): Verdict | undefined {
  const own = settings.providers[entry];
  if (!own || fingerprint(own) !== wanted) {
    return putBack(
      `a worker with provider entry "${entry}"${own ? " as this job has it: it is set up differently on the workers" : ""}`,
    );
  }
  return own.apiKey || own.keyOptional ? undefined : putBack(`a worker with ${own.keyVariable}`);
}

function putBack(reason: string): Verdict {
  return { kind: "putBack", delayMs: putBackMs(), reason, isBarred: true };
}

function workersLost(count: number): Verdict {
  const error = new GlueError({
    code: "worker_lost",
    category: "internal",
    message: `${count} ${count === 1 ? "worker was" : "workers were"} lost while they ran this job`,
    hint: "look for what kills them (memory, a huge answer), then retry the job",
  });
  return { kind: "fail", error };
}
