import type { Files } from "./openai-files.ts";
import { VALIDATING_MS } from "./plan.ts";
import type { ProviderBatch, ProviderBatches, RowResult } from "./provider-batches.ts";

/** The files of results are made when a batch is first seen to have ended. */
function resultFiles(batch: ProviderBatch, files: Files) {
  const { own, results, rows } = batch;
  if (!results || own.areFilesMade) return own;
  own.areFilesMade = true;
  const order = rows
    .map((_, at) => at)
    .sort((a, b) => (rows[a]?.doneAtShare ?? 0) - (rows[b]?.doneAtShare ?? 0));
  const lines = { output: "", error: "" };
  for (const at of order) {
    const result = results[at];
    if (!result) continue;
    const line = JSON.stringify({
      id: `batch_req_${batch.id}_${at}`,
      custom_id: rows[at]?.customId,
      ...lineOf(result),
    });
    lines[result.state === "succeeded" ? "output" : "error"] += `${line}\n`;
  }
  for (const [kind, text] of Object.entries(lines))
    own[`${kind}_file_id`] =
      text === "" ? null : files.add(`${batch.id}_${kind}.jsonl`, "batch_output", text);
  return own;
}

function lineOf(result: RowResult): object {
  if (result.state === "succeeded")
    return { response: { status_code: 200, request_id: result.requestId, body: result.body }, error: null };
  if (result.state === "errored") {
    const { status, body } = result.error;
    return { response: { status_code: status, request_id: result.requestId, body }, error: null };
  }
  const message = {
    expired: "This request could not be executed before the completion window expired.",
    cancelled: "This request was cancelled.",
  }[result.state];
  return { response: null, error: { code: `batch_${result.state}`, message } };
}

/** Returns a batch as OpenAI tells of it. */
export function view(batches: ProviderBatches, batch: ProviderBatch, files: Files): object {
  const { id, rows, results, failure, createdAt, cancelledAt, endedAt, outcome, expiresAt } = batch;
  const {
    endpoint,
    input_file_id,
    completion_window,
    metadata,
    output_file_id = null,
    error_file_id = null,
  } = resultFiles(batch, files);
  const seconds = (at: number | undefined) => (at === undefined ? null : Math.floor(at / 1000));
  const beginsAt = createdAt + VALIDATING_MS / batches.plan.speed;
  const stateNow = failure
    ? "failed"
    : (outcome ??
      (cancelledAt !== undefined
        ? "cancelling"
        : Date.now() < beginsAt
          ? "validating"
          : batches.doneRows(batch) === rows.length
            ? "finalizing"
            : "in_progress"));
  const failed = results?.filter(({ state }) => state === "errored").length ?? 0;
  const completed = results?.filter(({ state }) => state === "succeeded").length ?? batches.doneRows(batch);
  const errors = failure && { object: "list", data: [{ param: null, line: null, ...failure }] };
  return {
    id,
    object: "batch",
    endpoint,
    errors: errors ?? null,
    input_file_id,
    completion_window,
    status: stateNow,
    output_file_id,
    error_file_id,
    created_at: seconds(createdAt),
    in_progress_at: failure || Date.now() < beginsAt ? null : seconds(beginsAt),
    expires_at: seconds(expiresAt),
    finalizing_at: outcome ? seconds(endedAt) : null,
    completed_at: outcome === "completed" ? seconds(endedAt) : null,
    failed_at: failure ? seconds(endedAt) : null,
    expired_at: outcome === "expired" ? seconds(endedAt) : null,
    cancelling_at: seconds(cancelledAt),
    cancelled_at: outcome === "cancelled" ? seconds(endedAt) : null,
    request_counts: { total: rows.length, completed, failed },
    metadata,
  };
}
