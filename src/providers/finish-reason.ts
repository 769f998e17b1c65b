import type { FinishReason } from "../shared/chat.ts";

/** The words of vendors and servers, in the spelling that `spelled` gives them. */
const WORDS: Record<FinishReason, readonly string[]> = {
  stop: [
    ...[
      "stop",
      "stopped",
      "end_turn",
      "eos",
      "eos_token",
      "stop_sequence",
      "stop_token",
      "end",
      "done",
      "normal",
    ],
    ...["complete", "completed", "finished", "pause_turn"],
  ],
  length: [
    ...["length", "max_tokens", "max_output_tokens", "max_new_tokens", "max_completion_tokens", "max_length"],
    ...[
      "model_length",
      "context_length",
      "context_length_exceeded",
      "model_context_window_exceeded",
      "token_limit",
    ],
    ...["length_limit", "truncated", "incomplete"],
  ],
  tool_calls: ["tool_calls", "tool_call", "tool_use", "function_call", "function_calls"],
  content_filter: [
    ...["content_filter", "content_filtered", "refusal", "safety", "image_safety", "recitation", "blocklist"],
    ...["prohibited_content", "spii", "sensitive", "guardrail_intervened", "error_toxic", "blocked"],
  ],
};
const MEANING = new Map(
  Object.entries(WORDS).flatMap(([reason, words]) => words.map((word) => [word, reason as FinishReason])),
);

/**
 * Returns what a vendor's finish reason means; undefined for none, and for what is no word; `unknown` for a word that does
 * not say that the answer is whole, such as `error`.
 */
export function readFinishReason(raw: unknown): FinishReason | "unknown" | undefined {
  if (typeof raw !== "string" || raw.trim() === "") return undefined;
  return MEANING.get(raw) ?? MEANING.get(spelled(raw)) ?? "unknown";
}

/** `FinishReason.MAX_TOKENS`, `max-tokens` and `content_filter: RECITATION` are words of the table, too. */
function spelled(raw: string): string {
  const [word = ""] = raw.trim().split(":");
  return word
    .slice(word.lastIndexOf(".") + 1)
    .toLowerCase()
    .replace(/[\s-]+/g, "_")
    .replace(/^finish_reason_/, "");
}
