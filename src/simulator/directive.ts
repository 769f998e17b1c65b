import { z } from "zod";
import type { Call } from "./call.ts";
import { type Conversation, directiveJson } from "./conversation.ts";
import { FAULT_KINDS } from "./faults.ts";
import { InvalidCallError } from "./invalid-call.ts";

const toolCallSchema = z.strictObject({
  /** May be one that the request does not offer. */
  name: z.string(),
  /** A string is sent as it stands, so that it need not be JSON; Anthropic's dialect sends `{}` for what is no object. */
  arguments: z.union([z.string(), z.record(z.string(), z.unknown())]).default({}),
  /** Default: made from the request's hash. */
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
  /** Time to answer, without jitter. */
  latencyMs: z.number().min(0).max(3_600_000).optional(),
  finish: z.enum(["length", "content_filter"]).optional(),
  /** A fault in place of the answer, the first `errorTimes` times this request is admitted (default: always). */
  error: z.enum(FAULT_KINDS).optional(),
  errorTimes: z.int().positive().optional(),
};
const turnSchema = z.strictObject(turnFields);
export type Turn = z.infer<typeof turnSchema>;
/** Called with each request once it is read; its turn is as in a `#sim` line. */
export type ScriptedAnswers = (call: Call) => Turn | undefined;

const directiveSchema = z
  .strictObject({
    ...turnFields,
    /** Call every tool of the request once, then quote the results. */
    callTools: z.boolean().optional(),
    /** One for each call of a conversation; beyond the end the last one again. */
    turns: z.array(turnSchema).min(1).optional(),
  })
  .refine(({ turns, ...others }) => turns === undefined || Object.keys(others).length === 0, {
    error: "turns stands alone",
  });

/** How this call is to be answered. */
export interface Directive extends Turn {
  callTools?: boolean | undefined;
}

/**
 * The `#sim {json}` line of a user message, by which a caller sets its own answers. The last one of a conversation
 * counts; of its `turns` the one after as many assistant messages as follow that message.
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
