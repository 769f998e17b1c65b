import type { RunRecord } from "../store/run-record.ts";
import { isTracing, markFailed, setSpanAttributes, sharedSpan, withSpan } from "../telemetry/tracing.ts";
import type { RunEnd } from "./run-input.ts";

/**
 * Does what an activation of a run does under the run's span, which is one over all its activations and workers. The worker that ends the
 * run ends the span.
 */
export async function traceRun<T extends RunEnd | "continued">(
  run: RunRecord,
  work: () => Promise<T>,
): Promise<T> {
  if (!isTracing()) return work();
  const { id, workflow, version, createdAt, tenant, parentRunId, parentStep } = run;
  const span = sharedSpan(`invoke_workflow ${workflow}`, {
    ...{ id: `run:${id}`, kind: "INTERNAL", startedAt: createdAt, carrier: run },
  });
  const end = await withSpan(span, work);
  if (end === "continued" || !span.isRecording()) return end;
  if (end.kind !== "succeeded" && end.kind !== "failed") return end;
  setSpanAttributes(
    {
      "gen_ai.operation.name": "invoke_workflow",
      "gen_ai.agent.name": workflow,
      "gluellm.run.id": id,
      "gluellm.workflow.version": version,
      "gluellm.status": end.kind,
      "gluellm.tenant": tenant,
      "gluellm.parent_run.id": parentRunId,
      "gluellm.step": parentStep,
      "mlflow.spanType": "CHAIN",
    },
    span,
  );
  // What follows the code may be the words of the workflow's own code.
  if (end.kind === "failed") markFailed(span, { code: end.reason.split(":")[0] });
  span.end();
  return end;
}
