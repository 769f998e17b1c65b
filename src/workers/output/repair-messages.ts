import { assistantMessage } from "../../providers/assistant-message.ts";
import type { ChatCompletion, Message } from "../../shared/chat.ts";
import { isObject, parseJson } from "../../shared/json.ts";
import type { OutputMode } from "../../shared/output-spec.ts";
import type { AnswerToolCall } from "../../shared/tool-calls.ts";

/**
 * The messages that show the model its answer and what was wrong with it, to append for the next round; legal in both
 * dialects. Every tool call of the answer gets its result. A call whose arguments are no JSON object, which Anthropic
 * could not be shown, is quoted as text.
 */
export function repairMessages(
  body: ChatCompletion,
  problem: string,
  mode: OutputMode,
  name: string,
  entry?: string,
): Message[] {
  const { content, tool_calls: calls = [] } = body.choices[0]?.message ?? {};
  const wish = mode === "tool" ? `Call ${name} again` : "Answer again";
  const complaint = `The answer does not fit the schema:\n${problem}\n${wish} with the whole answer, corrected.`;
  if (calls.length > 0 && calls.every(hasObjectArguments)) {
    return [assistantMessage(body, entry), ...calls.map((call) => resultOf(call, name, complaint))];
  }
  const shown = [content ?? "", ...calls.map((call) => call.function.arguments)].filter(
    (text) => text.trim() !== "",
  );
  const user: Message = { role: "user", content: complaint };
  return shown.length === 0 ? [user] : [{ role: "assistant", content: shown.join("\n") }, user];
}

function resultOf({ id, function: called }: AnswerToolCall, name: string, complaint: string): Message {
  const content = called.name === name ? complaint : `Not run. Call ${name} with the answer.`;
  return { role: "tool", tool_call_id: id, content };
}

function hasObjectArguments({ function: called }: AnswerToolCall): boolean {
  return isObject(parseJson(called.arguments));
}
