import { filesOf } from "../batch/served/batch-host.ts";
import { failedRequests } from "../batch/served/failed-rows.ts";
import { type DeadLetter, payloadOf } from "../producers/dead-letters.ts";
import { requestOf } from "../producers/fork-job.ts";
import type { ChatRequest } from "../shared/chat.ts";
import { costUsd } from "../shared/cost.ts";
import { toDouble } from "../shared/exact-json.ts";
import { type ModelRef, modelRef } from "../shared/model-name.ts";
import type { Settings } from "../shared/settings.ts";
import { estimatePromptTokens } from "../shared/token-estimate.ts";
import { readBatch } from "../store/batch.ts";
import { readServedBatch } from "../store/served-batch.ts";
import type { Store } from "../store/store.ts";

/** Of an answer whose length nobody bounded. */
const GUESSED_TOKENS = 500;

/**
 * Returns what a first call of each job, and of each failed row, may cost in USD; null when nobody knows. Calls of runs are not in it.
 * @param model of all of them; undefined: their own
 */
export async function quoteLetters(
  store: Store,
  settings: Settings,
  letters: readonly DeadLetter[],
  model: ModelRef | undefined,
): Promise<number | null> {
  let sum = 0;
  for (const letter of letters) {
    const cost =
      letter.kind === "batch"
        ? await quoteRows(store, settings, letter, model)
        : await quoteJob(store, settings, letter, model);
    if (cost === null) return null;
    sum += cost;
  }
  return sum;
}

async function quoteJob(
  store: Store,
  settings: Settings,
  { kind, id, queue }: DeadLetter,
  model: ModelRef | undefined,
): Promise<number | null> {
  const payload = kind === "job" && queue !== undefined ? await payloadOf(store, queue, id) : undefined;
  const request = payload && (await requestOf(store, payload).catch(() => undefined));
  if (!payload || !request) return 0;
  return quoteCall(settings, model ?? modelRef(payload.provider.entry, payload.model), request);
}

/** By what a row of the batch has cost so far; else, and for another model, by the rows themselves. */
async function quoteRows(
  store: Store,
  settings: Settings,
  { id, rows = 0 }: DeadLetter,
  model: ModelRef | undefined,
): Promise<number | null> {
  const run = await readBatch(store, id);
  if (run && !model && run.succeeded > 0 && run.unpriced === 0) return (rows * run.costUsd) / run.succeeded;
  const batch = await readServedBatch(store, id);
  if (!batch || !model) return null;
  let sum = 0;
  for await (const { body } of failedRequests(filesOf(settings, store), batch)) {
    const cost = Array.isArray(body.messages) ? quoteCall(settings, model, body as ChatRequest) : null;
    if (cost === null) return null;
    sum += cost;
  }
  return sum;
}

function quoteCall({ prices }: Settings, model: ModelRef, request: ChatRequest): number | null {
  const prompt = estimatePromptTokens(request);
  const completion = toDouble(request.max_tokens ?? request.max_completion_tokens) ?? GUESSED_TOKENS;
  return costUsd(prices, model, { prompt, completion, total: prompt + completion, cached: 0 });
}
