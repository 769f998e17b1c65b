import { type ErrorResponse, type FixtureResponse, LLMock } from "@copilotkit/aimock";
import type { Dialect } from "../../src/shared/providers.ts";

/** One turn of a provider, in the words of the simulator's `#sim` line. */
export interface Turn {
  reply?: string;
  json?: unknown;
  toolCalls?: { name: string; arguments: object }[];
  error?: "400" | "401" | "429" | "500";
  errorTimes?: number;
  latencyMs?: number;
}

/** A prompt that the simulator, and aimock as it is started here, answer with these turns. */
export function script(about: string, ...turns: Turn[]): string {
  return `${about}\n#sim ${JSON.stringify({ turns })}`;
}

const ERRORS: Record<Dialect, Record<NonNullable<Turn["error"]>, { type: string; code?: string }>> = {
  openai: {
    "400": { type: "invalid_request_error", code: "invalid_value" },
    "401": { type: "invalid_request_error", code: "invalid_api_key" },
    "429": { type: "requests", code: "rate_limit_exceeded" },
    "500": { type: "server_error" },
  },
  anthropic: {
    "400": { type: "invalid_request_error" },
    "401": { type: "authentication_error" },
    "429": { type: "rate_limit_error" },
    "500": { type: "api_error" },
  },
};
const USAGE: Record<Dialect, Record<string, number>> = {
  openai: { prompt_tokens: 40, completion_tokens: 9 },
  anthropic: { input_tokens: 40, output_tokens: 9 },
};

/** An aimock that follows the scripts of prompts; its streams come in pieces, 20 ms apart. */
export async function startScriptedAimock(dialect: Dialect): Promise<LLMock> {
  const mock = new LLMock({ port: 0 });
  const failures = new Map<string, number>();
  mock.on(
    { predicate: () => true },
    ({ model, messages }) => {
      const { turn, asked } = turnOf(messages);
      const key = `${model} ${asked}`;
      const failed = failures.get(key) ?? 0;
      if (!turn.error || failed >= (turn.errorTimes ?? Number.POSITIVE_INFINITY))
        return answerOf(dialect, turn);
      failures.set(key, failed + 1);
      return refusalOf(dialect, turn.error);
    },
    { chunkSize: 8, latency: 20 },
  );
  await mock.start();
  return mock;
}

/** The last script counts; of its turns the one after as many answers as follow it. */
function turnOf(messages: readonly { role: string; content?: unknown }[]): { turn: Turn; asked: string } {
  const at = messages.findLastIndex(({ content }) => textOf(content).includes("#sim "));
  const asked = textOf(messages[at]?.content);
  const { turns } = JSON.parse(/#sim (.*)$/m.exec(asked)?.[1] ?? '{"turns":[{}]}') as { turns: Turn[] };
  const answered = messages.slice(at + 1).filter(({ role }) => role === "assistant").length;
  return { turn: turns[Math.min(answered, turns.length - 1)] ?? {}, asked };
}

function answerOf(dialect: Dialect, { reply, json, toolCalls }: Turn): FixtureResponse {
  const usage = USAGE[dialect];
  const calls = toolCalls?.map(({ name, arguments: args }) => ({ name, arguments: JSON.stringify(args) }));
  if (calls) return { toolCalls: calls, usage };
  return { content: reply ?? (json === undefined ? "All is well." : JSON.stringify(json)), usage };
}

function refusalOf(dialect: Dialect, status: NonNullable<Turn["error"]>): ErrorResponse {
  const error = { message: "no", ...ERRORS[dialect][status] };
  return { status: Number(status), error, ...(status === "429" && { retryAfter: 1 }) };
}

function textOf(content: unknown): string {
  if (typeof content === "string") return content;
  return Array.isArray(content) ? content.map((part) => part?.text ?? "").join("\n") : "";
}
