import { post } from "../api.ts";
import { counted, usd } from "../format.ts";
import { Action } from "../parts/dialog.tsx";
import { go } from "../router.ts";
import { may } from "../session.ts";
import type { Batch } from "../types.ts";

/** Of batches that have not ended. */
export const OPEN_STATES: readonly string[] = [
  "validating",
  "in_progress",
  "finalizing",
  "cancelling",
  "paused",
];

/** What can be done with a batch; each says what it does and costs before it does it. */
export function BatchActions({ batch, path }: { batch: Batch; path: string }) {
  const { state, source, rows, costUsd } = batch;
  const isOpen = OPEN_STATES.includes(state);
  const scope = ["batch", "operate"] as const;
  const left = rows.queued + rows.unsent;
  const perRow = costUsd && rows.succeeded ? costUsd / rows.succeeded : undefined;
  const retriable = rows.total - rows.succeeded;
  return (
    <>
      {source === "service" && (state === "in_progress" || state === "validating") && (
        <Action
          label="Pause"
          scope={scope}
          explain={
            <p>
              No further row is sent until the batch is resumed; rows under way end and are paid. Its window
              goes on, so a long pause may let it expire. It costs nothing.
            </p>
          }
          act={async () => {
            await post(`${path}/pause`);
            return "The batch is paused.";
          }}
        />
      )}
      {state === "paused" && (
        <Action
          label="Resume"
          scope={scope}
          explain={
            <p>
              The {counted(left, "row")} left {left === 1 ? "is" : "are"} sent
              {perRow !== undefined && `, for about ${usd(perRow * left)}`}.
            </p>
          }
          act={async () => {
            await post(`${path}/resume`);
            return "The batch goes on.";
          }}
        />
      )}
      {isOpen && state !== "cancelling" && (
        <Action
          label="Cancel"
          isDangerous
          scope={scope}
          explain={
            <p>
              The {counted(rows.unsent, "row")} not sent yet never {rows.unsent === 1 ? "is" : "are"}. Rows
              under way end; the {usd(costUsd)} that it has cost are spent, and the answers so far are kept.
            </p>
          }
          act={async () => {
            await post(`${path}/cancel`);
            return "The batch is cancelled.";
          }}
        />
      )}
      {source === "service" && !isOpen && retriable > 0 && !batch.retriedAs && (
        <Action
          label="Retry failed rows"
          scope={scope}
          explain={
            <p>
              A new batch sends the {counted(retriable, "row")} without an answer
              {perRow !== undefined && `, for about ${usd(perRow * retriable)}`}. Rows that have one are not
              paid again.
            </p>
          }
          act={async () => {
            const { id } = await post<Batch>(`${path}/retry`);
            go(`/batches/${encodeURIComponent(id)}`);
            return `Retried as ${id}.`;
          }}
        />
      )}
      {may("content") && batch.outputFileId && (
        <a class="button" href={`${path}/output`} download>
          Answers
        </a>
      )}
      {may("content") && batch.errorFileId && (
        <a class="button" href={`${path}/errors`} download>
          Errors
        </a>
      )}
    </>
  );
}
