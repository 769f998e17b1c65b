/*
 * What OpenAI and Anthropic refuse of a request's messages, by their published rules and the words of their refusals.
 */

// biome-ignore lint/suspicious/noExplicitAny: it judges bodies of any shape
type Any = any;

const CHAT_FIELDS = [
  "role",
  "content",
  "name",
  "tool_calls",
  "tool_call_id",
  "refusal",
  "audio",
  "function_call",
];
const CALL_FIELDS = ["id", "type", "function"];

/** Returns what a strict server of Chat Completions refuses; undefined when it takes the messages. */
export function refusedByChat({ messages }: Any, more: readonly string[] = []): string | undefined {
  const ids = new Set<string>();
  let open: string[] = [];
  for (const [i, message] of messages.entries()) {
    const at = `messages[${i}]`;
    const extra = Object.keys(message).find((key) => ![...CHAT_FIELDS, ...more].includes(key));
    if (extra) return `Unknown parameter: '${at}.${extra}'`;
    if (message.role === "tool") {
      if (!open.includes(message.tool_call_id))
        return `${at}: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'`;
      open = open.filter((id) => id !== message.tool_call_id);
      if (typeof message.content !== "string" && !message.content?.length) return `${at}.content: is missing`;
      continue;
    }
    if (open.length > 0) return `${at}: tool_call_ids did not have response messages: ${open}`;
    for (const call of message.tool_calls ?? []) {
      const unknown = Object.keys(call).find((key) => ![...CALL_FIELDS, ...more].includes(key));
      if (unknown) return `Unknown parameter: '${at}.tool_calls[0].${unknown}'`;
      if (!/^[a-zA-Z0-9_-]{1,40}$/.test(call.id)) return `${at}.tool_calls[0].id: ${call.id}`;
      if (ids.has(call.id)) return `${at}.tool_calls[0].id: twice`;
      ids.add(call.id);
      open.push(call.id);
      if (!/^[a-zA-Z0-9_-]{1,64}$/.test(call.function.name)) return `${at}.tool_calls[0].function.name`;
      if (!isObjectText(call.function.arguments)) return `${at}.tool_calls[0].function.arguments`;
    }
    if (message.tool_calls?.length === 0) return `${at}.tool_calls: is too short`;
    if (isBlankContent(message.content) && !message.tool_calls) return `${at}.content: is blank`;
  }
  return open.length > 0 ? `tool_call_ids did not have response messages: ${open}` : undefined;
}

/** Returns what a strict server of Responses refuses; undefined when it takes the items. */
export function refusedByResponses({ input }: Any): string | undefined {
  const ids = new Set<string>();
  const open = new Set<string>();
  for (const [i, { type = "message", role, content, call_id: id, ...rest }] of input.entries()) {
    const at = `input[${i}]`;
    const extra = Object.keys(rest).find((key) => /^(reasoning|vendor_state|tool_|response_)/.test(key));
    if (extra || (role && "name" in rest)) return `Unknown parameter: '${at}.${extra ?? "name"}'`;
    if (type === "function_call") {
      if (!/^[a-zA-Z0-9_-]{1,64}$/.test(id) || ids.has(id)) return `${at}.call_id: ${id}`;
      if (!/^[a-zA-Z0-9_-]{1,64}$/.test(rest.name)) return `${at}.name`;
      if (!isObjectText(rest.arguments)) return `${at}.arguments`;
      ids.add(id);
      open.add(id);
    }
    if (type === "function_call_output" && !open.delete(id))
      return `No tool call found for function call output with call_id ${id}.`;
    if (type === "message" && isBlankContent(content)) return `${at}.content: is blank`;
    const part = Array.isArray(content) ? content[0]?.type : undefined;
    if (part?.startsWith(role === "assistant" ? "input" : "output")) return `Invalid value: '${part}'.`;
  }
  return open.size > 0 ? `No tool output found for function call ${[...open]}.` : undefined;
}

/** Returns what a strict server of Messages refuses; undefined when it takes the request. */
export function refusedByMessages({
  messages,
  system,
  thinking,
  max_tokens: limit,
  ...rest
}: Any): string | undefined {
  const ids = new Set<string>();
  let open: string[] = [];
  const blank = (system ?? []).find((block: Any) => block.text.trim() === "");
  if (blank) return "system: text content blocks must contain non-whitespace text";
  if (thinking?.type === "enabled" && !(limit > thinking.budget_tokens))
    return "`max_tokens` must be greater than `thinking.budget_tokens`";
  if (thinking && ["any", "tool"].includes(rest.tool_choice?.type))
    return "Thinking may not be enabled when tool_choice forces tool use.";
  for (const [i, { role, content }] of messages.entries()) {
    const at = `messages.${i}`;
    if (role !== (i % 2 === 0 ? "user" : "assistant")) return `${at}: roles must alternate from "user" on`;
    const results = content.filter((block: Any) => block.type === "tool_result");
    if (role === "user") {
      const given = results.map((block: Any) => block.tool_use_id);
      if (open.some((id) => !given.includes(id)))
        return `${at}: tool_use ids were found without tool_result blocks immediately after: ${open}`;
      if (given.some((id: string) => !open.includes(id)) || new Set(given).size < given.length)
        return `${at}: unexpected tool_use_id found in tool_result blocks`;
      if (results.some((block: Any) => content.indexOf(block) >= results.length))
        return `${at}: tool_result blocks must come first`;
      open = [];
    }
    for (const block of content) {
      if (block.type === "text" && block.text.trim() === "")
        return `${at}: text content blocks must contain non-whitespace text`;
      if (block.type === "thinking" && typeof block.signature !== "string") return `${at}: signature`;
      if (block.type !== "tool_use") continue;
      if (!/^[a-zA-Z0-9_-]+$/.test(block.id)) return `${at}.id: ${block.id}`;
      if (ids.has(block.id)) return `${at}: tool_use ids must be unique`;
      ids.add(block.id);
      open.push(block.id);
      if (!/^[a-zA-Z0-9_-]{1,128}$/.test(block.name)) return `${at}.name`;
      if (block.input === null || typeof block.input !== "object" || Array.isArray(block.input))
        return `${at}.input`;
    }
  }
  if (open.length > 0) return `tool_use ids were found without tool_result blocks immediately after: ${open}`;
  return thinking?.type === "enabled" ? loopWithoutThinking(messages) : undefined;
}

function loopWithoutThinking(messages: Any[]): string | undefined {
  const asked = messages.findLastIndex(
    ({ role, content }) => role === "user" && content.every((block: Any) => block.type !== "tool_result"),
  );
  const first = messages[asked + 1]?.content[0]?.type;
  if (first === undefined || /thinking/.test(first)) return undefined;
  return `messages.${asked + 1}.content.0.type: Expected \`thinking\` or \`redacted_thinking\`, but found \`${first}\`. When \`thinking\` is enabled, a final \`assistant\` message must start with a thinking block`;
}

function isBlankContent(content: Any): boolean {
  if (!Array.isArray(content)) return (content ?? "").trim() === "";
  return content.length === 0 || content.some((part: Any) => part.type === "text" && part.text.trim() === "");
}

function isObjectText(text: string): boolean {
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === "object" && !Array.isArray(value);
  } catch {
    return false;
  }
}
