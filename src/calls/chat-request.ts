import type { ChatRequest, Message } from "../shared/chat.ts";
import { InputError } from "../shared/errors.ts";
import { isObject } from "../shared/json.ts";
import { isSystemPrompt } from "../shared/system-prompt.ts";
import { isToolSet, type Tool, toolsByName, toToolDefinition } from "../shared/tool.ts";
import type { ChatParameters, CompletionMessage, EnqueueOptions } from "./completion-options.ts";
import type { ContentPart } from "./content-part.ts";

/**
 * Returns the request of a call, not checked further. A call's system prompt always comes first; that of the client
 * only when the messages have none.
 * @throws InputError when nothing is asked.
 */
export function toChatRequest(
  message: CompletionMessage,
  { system, extra, tools, ...options }: EnqueueOptions,
  client: Pick<EnqueueOptions, "system" | "tools">,
): ChatRequest {
  const asked = toMessages(message);
  const hasSystem = asked.some(({ role }) => role === "system" || role === "developer");
  const prompt = toPrompt(system ?? (hasSystem ? undefined : client.system), tools ?? client.tools);
  const messages: Message[] = prompt ? [{ role: "system", content: prompt }, ...asked] : asked;
  return { messages, ...toParameters(options), ...extra };
}

/** Returns the messages of a request that its caller gave: all but the system prompt. */
export function givenMessages(message: CompletionMessage, { messages }: ChatRequest): Message[] {
  return isParts(message) ? messages.slice(-1) : messages.slice(-message.length);
}

function toPrompt(system: EnqueueOptions["system"], tools: EnqueueOptions["tools"] = []): string | undefined {
  const named = tools.map((tool) => (typeof tool === "string" ? { name: tool } : tool));
  return isSystemPrompt(system) ? system.format({ tools: named }) : system;
}

const PARAMETERS = {
  temperature: "temperature",
  maxTokens: "max_tokens",
  topP: "top_p",
  stop: "stop",
  seed: "seed",
  frequencyPenalty: "frequency_penalty",
  presencePenalty: "presence_penalty",
  reasoningEffort: "reasoning_effort",
} as const satisfies Record<
  keyof Omit<ChatParameters, "extra" | "providerOptions" | "headers" | "query">,
  string
>;

function toParameters(options: ChatParameters): Record<string, unknown> {
  const names = Object.keys(PARAMETERS) as (keyof typeof PARAMETERS)[];
  const given = names.filter((name) => options[name] !== undefined);
  return Object.fromEntries(given.map((name) => [PARAMETERS[name], options[name]]));
}

function toMessages(message: CompletionMessage): Message[] {
  const messages = isParts(message) ? [{ role: "user" as const, content: message }] : message;
  if (!Array.isArray(messages) || !messages.every(isObject))
    throw new InputError("the message is neither a text nor a list of parts or messages");
  if (!messages.some(asksSomething)) {
    throw new InputError(
      "the prompt is empty",
      "give a text, parts or messages with some content",
      "empty_prompt",
    );
  }
  return messages;
}

function isParts(message: CompletionMessage): message is string | ContentPart[] {
  return (
    typeof message === "string" || (Array.isArray(message) && message.some((item) => "type" in Object(item)))
  );
}

/** Returns whether a message asks something: a system prompt alone is no question. */
function asksSomething({ role, content, ...rest }: Message): boolean {
  if (role === "system" || role === "developer") return false;
  // Many a tool has nothing to say.
  if (role === "tool") return true;
  if (typeof content === "string") return content.trim() !== "";
  if (Array.isArray(content))
    return content.some((part) => part?.type !== "text" || Boolean(part.text?.trim()));
  return Boolean(rest.tool_calls);
}

/**
 * Returns the definitions of tools that no worker runs.
 * @throws InputError for a name alone, and when two share a name.
 */
export function toToolDefinitions(tools: readonly (Tool | string)[]) {
  const whole = tools.filter((tool) => typeof tool !== "string");
  const name = tools.find((tool) => typeof tool === "string");
  const set = whole.find(isToolSet);
  if (set)
    throw new InputError(
      `with executeTools: false the tools of "${set.name}" cannot be given: only workers find out what they are`,
    );
  if (name === undefined) return [...toolsByName(whole).values()].map(toToolDefinition);
  throw new InputError(
    `with executeTools: false the tool "${name}" cannot be given by its name`,
    "give the tool itself: the worker does not look for it",
  );
}

/** Returns the names of tools. @throws InputError when two share a name. */
export function toToolNames(tools: readonly (Tool | string)[]): string[] {
  const whole = tools.filter((tool) => typeof tool !== "string");
  const names = tools.filter((tool) => typeof tool === "string");
  return [...new Set([...toolsByName(whole).keys(), ...names])];
}

/** Returns the names that `toolChoice` may have; undefined when a set is among the tools, which only workers know the tools of. */
export function toChoosable(tools: readonly (Tool | string)[]): string[] | undefined {
  return tools.some((tool) => typeof tool !== "string" && isToolSet(tool)) ? undefined : toToolNames(tools);
}
