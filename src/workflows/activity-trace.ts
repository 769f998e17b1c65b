import { UnrecoverableError } from "bullmq";
import type { ActivityPayload } from "../shared/activity-payload.ts";
import type { ActiveJob } from "../store/job-loop.ts";
import { isTracing, markFailed, setSpanAttributes, sharedSpan, withSpan } from "../telemetry/tracing.ts";

/** Does one try of an activity under the activity's span, which is one over all its tries and workers. */
export async function traceActivity(
  { job, jobId }: ActiveJob,
  payload: ActivityPayload,
  work: () => Promise<object>,
): Promise<object> {
  if (!isTracing()) return work();
  const { activity, workflow } = payload;
  const span = sharedSpan(`activity ${activity}`, {
    ...{ id: `activity:${jobId}`, kind: "CONSUMER", startedAt: job.timestamp, carrier: payload },
  });
  setSpanAttributes({ "gluellm.run.id": workflow.runId, "gluellm.step": workflow.step }, span);
  return withSpan(span, async () => {
    try {
      const ended = await work();
      span.end();
      return ended;
    } catch (error) {
      // Other signals say that it is done again.
      if (error instanceof UnrecoverableError) {
        markFailed(span, { code: error.message.split(":")[0] });
        span.end();
      }
      throw error;
    }
  });
}
