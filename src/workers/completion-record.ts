import type { GuardrailReport } from "../shared/guardrail.ts";
import { type ResultRecord, tracedBy } from "../shared/records.ts";
import { resultTtlSeconds } from "../shared/retention.ts";
import { DEFAULT_TENANT } from "../shared/tenant.ts";
import { inlineOrBlob } from "../store/blobs.ts";
import type { FinishedCall } from "../store/finished-call.ts";
import { untilTaken } from "../store/redis-refusal.ts";
import type { WorkerContext } from "./context.ts";
import type { CompletionOutcome, LoopInput } from "./loop-input.ts";
import { spentOn } from "./spent.ts";
import type { Progress } from "./turn-request.ts";

/** Returns the record of a job whose answer stands, and all calls that were paid for it. What is large of it is in blobs already. */
export async function completionRecord(
  { store, settings }: WorkerContext,
  { jobId, payload, logger, attemptsMade, journal, lost }: LoopInput,
  { calls, executions, output }: Progress,
  { agent, guardrails }: { agent: string | undefined; guardrails: GuardrailReport[] },
): Promise<Pick<CompletionOutcome, "record" | "calls">> {
  // The record is written a little later, and must not outlive them.
  const ttlSeconds = resultTtlSeconds(payload, "succeeded", settings.retention) + 3600;
  const { tenant = DEFAULT_TENANT } = payload;
  const keep = <T>(value: T) =>
    untilTaken(logger, () => inlineOrBlob(store, `result:${jobId}`, value, ttlSeconds, tenant));
  const { entry, model, statusCode, requestId, body, fromCache, similarity, lane } = calls.at(
    -1,
  ) as FinishedCall;
  const laneMissed = calls.findLast((call) => call.laneMissed)?.laneMissed;
  const aside = [...(journal?.summaries.map(({ call }) => call) ?? []), ...(journal?.questions ?? [])];
  const paid = [...aside, ...lost, ...calls];
  const record: ResultRecord = {
    v: 1,
    jobId,
    status: "succeeded",
    entry,
    model,
    ...(journal?.fallbacks.length && { fallbacks: journal.fallbacks }),
    response: { statusCode, requestId, body: await keep(body) },
    ...spentOn(paid),
    turns: calls.length,
    ...(fromCache && { fromCache }),
    ...(similarity !== undefined && { similarity }),
    ...(lane && { lane }),
    ...(laneMissed && { laneMissed }),
    ...((payload.tools || payload.agents) && { toolExecutions: await keep(executions) }),
    ...(agent !== undefined && { agent }),
    ...(guardrails.length > 0 && { guardrails }),
    ...(output && { output: await keep(output) }),
    attempts: attemptsMade + 1,
    finishedAt: Date.now(),
    ...tracedBy(payload),
  };
  return { record, calls: paid };
}
