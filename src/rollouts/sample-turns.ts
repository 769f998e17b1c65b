import type { CompletionResult } from "../calls/completion-result.ts";
import { assistantMessage } from "../providers/assistant-message.ts";
import { canonicalJson } from "../shared/canonical-json.ts";
import type { Message } from "../shared/chat.ts";
import { sha256 } from "../shared/digest.ts";
import { GlueError } from "../shared/errors.ts";
import type { EnvironmentReply, RolloutSample } from "../shared/reward.ts";
import { referenceTo } from "../shared/step-function.ts";
import type { WorkflowContext } from "../workflows/context.ts";
import type { GroupInput, Sample } from "./group.ts";

/** The faults of a call that concern all others too: the run fails, and goes on by a retry once they are mended. */
const OF_EVERYONE: readonly string[] = ["authentication", "account", "configuration", "cancelled"];
const ENVIRONMENT_TIMEOUT_MS = 60_000;
/** Seeds are whole numbers that every provider takes: 31 bits. */
const MAX_SEED = 2 ** 31;

/** A sample before it is scored. */
export type Sampled = Omit<Sample, "rewards" | "rewardErrors" | "reasons" | "judgeCostUsd">;

/** Returns the seed of a sample: the same prompt and place have the same one. */
function seedOf({ seed, prompt }: Pick<GroupInput, "seed" | "prompt">, place: number): number | undefined {
  if (seed === undefined) return undefined;
  return Number.parseInt(sha256(canonicalJson([seed, prompt, place])).slice(0, 12), 16) % MAX_SEED;
}

/** Returns a fault as a sample keeps it. @throws the error itself where it is no matter of this sample alone */
export function faultOf(error: unknown): { code: string; message: string } {
  if (!(error instanceof GlueError) || OF_EVERYONE.includes(error.category)) throw error;
  return { code: error.code, message: error.message };
}

/**
 * Plays a sample to its end, each of its calls a job: until an answer calls no tool and the environment has nothing to say, or `maxTurns`.
 * @param place of the sample among all of its group's, those of earlier tries included
 * @param onTurn told when an answer, or a failure, is there
 * @throws what concerns more than this sample
 */
export async function playSample(
  ctx: WorkflowContext,
  input: GroupInput,
  place: number,
  onTurn: () => void,
): Promise<Sampled> {
  const { samples, prompt, request, maxTurns, environment } = input;
  const seed = seedOf(input, place);
  const played: Sampled = {
    sample: place % samples,
    ...(seed !== undefined && { seed }),
    completion: [],
    text: "",
    stopReason: "max_turns",
    turns: 0,
    tokens: { prompt: 0, completion: 0, cached: 0 },
    costUsd: 0,
    latencyMs: 0,
  };
  const tools = request.tools?.length ? { executeTools: "once" as const } : {};
  try {
    while (played.turns < maxTurns) {
      const asked = [...prompt, ...played.completion];
      // Two samples of one prompt are two calls, whatever the cache would say.
      const options = { ...request, ...tools, seed, cache: false };
      const result = await ctx.complete(`sample ${place} turn ${played.turns}`, asked as never, options);
      addAnswer(played, result);
      onTurn();
      if (result.toolCallsMade > 0) continue;
      const reply = environment === undefined ? null : await replyOf(ctx, environment, input, played, place);
      if (reply === null) {
        played.stopReason = result.finishReason ?? "stop";
        break;
      }
      played.completion.push({ role: "user", content: reply });
    }
  } catch (error) {
    played.error = faultOf(error);
    played.stopReason = "error";
  } finally {
    onTurn();
  }
  return played;
}

/** Returns a sample as rewards and environments see it. */
export function seenSample(
  { prompt, row }: Pick<GroupInput, "prompt" | "row">,
  played: Pick<Sampled, "completion" | "text" | "sample">,
): RolloutSample {
  const { completion, text, sample } = played;
  return { prompt, completion, text, row, sample };
}

function addAnswer(played: Sampled, result: CompletionResult): void {
  const { rawResponse, model, finalResponse, tokensUsed, costUsd, latencyMs, toolExecutionHistory } = result;
  played.completion.push(
    assistantMessage(rawResponse, model.split(":", 1)[0]),
    ...toolExecutionHistory.map(toToolMessage),
  );
  played.text = finalResponse;
  played.turns += 1;
  played.tokens.prompt += tokensUsed.prompt;
  played.tokens.completion += tokensUsed.completion;
  played.tokens.cached += tokensUsed.cached;
  played.costUsd = played.costUsd === null || costUsd === null ? null : played.costUsd + costUsd;
  played.latencyMs += latencyMs;
}

function toToolMessage({ callId, result, error }: CompletionResult["toolExecutionHistory"][number]): Message {
  return { role: "tool", tool_call_id: callId, content: error ? `Error: ${error.message}` : (result ?? "") };
}

async function replyOf(
  ctx: WorkflowContext,
  environment: string,
  input: GroupInput,
  played: Sampled,
  place: number,
): Promise<string | null> {
  const reference = referenceTo({ kind: "environment", name: environment });
  const reply = await ctx.call<EnvironmentReply>(
    `reply ${place} turn ${played.turns}`,
    reference,
    structuredClone(seenSample(input, played)),
    { timeoutMs: ENVIRONMENT_TIMEOUT_MS },
  );
  return typeof reply === "string" && reply.trim() !== "" ? reply : null;
}
