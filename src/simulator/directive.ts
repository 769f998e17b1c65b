import { z } from "zod";
import type { Call } from "./call.ts";
import { type Conversation, directiveJson } from "./conversation.ts";
import { FAULT_KINDS } from "./faults.ts";
import { InvalidCallError } from "./invalid-call.ts";

const toolCallSchema = z.strictObject({
  /** The tool's name; the request need not offer it. */
  name: z.string(),
  /** The arguments. A string is sent as it stands, JSON or not; Anthropic's dialect sends `{}` for what is no object. */
  arguments: z.union([z.string(), z.record(z.string(), z.unknown())]).default({}),
  /** The call's id; default: made from the request's hash. */
  id: z.string().optional(),
});

const turnFields = {
  /** The answer's text, as it stands; beside `toolCalls`, the text before them. */
  reply: z.string().optional(),
  /** The answer's text as JSON, or the arguments of the tool that `tool_choice` demands. */
  json: z.unknown().optional(),
  toolCalls: z.array(toolCallSchema).min(1).optional(),
  /** Completion tokens of the answer. */
  tokens: z.int().min(0).max(200_000).optional(),
  /** Time to answer in milliseconds, without jitter. */
  latencyMs: z.number().min(0).max(3_600_000).optional(),
  finish: z.enum(["length", "content_filter"]).optional(),
  /** A fault in place of the answer, the first `errorTimes` times this request is admitted (default: always). */
  error: z.enum(FAULT_KINDS).optional(),
  errorTimes: z.int().positive().optional(),
};
const turnSchema = z.strictObject(turnFields);
/** What a `#sim` line or a script sets of one answer. */
export type ScriptedAnswer = z.infer<typeof turnSchema>;
/** Returns the answer to a request, as a `#sim` line would say it; undefined: the simulator makes one up. */
export type AnswerScript = (call: Call) => ScriptedAnswer | undefined;

const directiveSchema = z
  .strictObject({
    ...turnFields,
    /** Whether every tool of the request is called once, and then its result quoted. */
    callTools: z.boolean().optional(),
    /** The answers to the calls of a conversation; beyond the end the last one again. */
    turns: z.array(turnSchema).min(1).optional(),
  })
  .refine(({ turns, ...others }) => turns === undefined || Object.keys(others).length === 0, {
    error: "turns stands alone",
  });

/** How this call is to be answered. */
export interface Directive extends ScriptedAnswer {
  callTools?: boolean | undefined;
}

/**
 * Returns what the `#sim {json}` line of a user message says, by which a caller sets its own answers. The last one of a
 * conversation counts; of its `turns` the one after as many assistant messages as follow that message.
 * @throws InvalidCallError when the line is there and cannot be used.
 */
export function readDirective({ directiveText, directiveTurn }: Conversation): Directive {
  const json = directiveJson(directiveText);
  if (json === undefined) return {};
  const { turns, ...single } = parseDirective(json);
  return turns?.[Math.min(directiveTurn, turns.length - 1)] ?? single;
}

function parseDirective(json: string): z.infer<typeof directiveSchema> {
  try {
    return directiveSchema.parse(JSON.parse(json));
  } catch (error) {
    const issue = error instanceof z.ZodError ? error.issues[0] : undefined;
    const reason = issue ? [issue.path.join("."), issue.message].filter(Boolean).join(": ") : "not JSON";
    const known = Object.keys(directiveSchema.shape).join(", ");
    throw new InvalidCallError(`#sim line: ${reason}; known are ${known}`, "messages");
  }
}
