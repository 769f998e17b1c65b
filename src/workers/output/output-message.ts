import { z } from "zod";
import type { ChatCompletion } from "../../shared/chat.ts";

const messageSchema = z.object({
  content: z.string().nullish(),
  refusal: z.string().nullish(),
  tool_calls: z
    .array(z.object({ id: z.string(), type: z.literal("function"), function: functionSchema() }))
    .nullish()
    .catch(undefined),
});

function functionSchema() {
  return z.object({ name: z.string(), arguments: z.string() });
}

export type AnswerCall = { id: string; type: "function"; function: { name: string; arguments: string } };

/** The first choice's message, as far as a structured answer can stand in it. */
export interface OutputMessage {
  content: string;
  refusal: string;
  calls: readonly AnswerCall[];
  finishReason: string | undefined;
}

export function outputMessageOf(body: ChatCompletion): OutputMessage {
  const [choice] = body.choices;
  const { content, refusal, tool_calls: calls } = messageSchema.parse(choice?.message ?? {});
  return {
    content: content ?? "",
    refusal: refusal ?? "",
    calls: calls ?? [],
    finishReason: choice?.finish_reason ?? undefined,
  };
}
