import type { Dialect } from "../dialect.ts";
import { answerBody, streamTexts } from "./answer.ts";
import { errorAnswer } from "./errors.ts";
import { limitHeaders } from "./limit-headers.ts";
import { readCall } from "./request.ts";

/** The dialect OpenAI Chat Completions. */
export const openaiDialect: Dialect = {
  name: "openai",
  requestIdHeader: "x-request-id",
  readCall,
  answerBody,
  streamTexts,
  errorEvent: (body) => `data: ${JSON.stringify(body)}\n\n`,
  errorAnswer,
  limitHeaders,
};
