import type { Dialect } from "../dialect.ts";
import { answerBody, streamTexts } from "./answer.ts";
import { errorAnswer } from "./errors.ts";
import { limitHeaders } from "./limit-headers.ts";
import { readCall } from "./request.ts";

/** The dialect Anthropic Messages. */
export const anthropicDialect: Dialect = {
  name: "anthropic",
  requestIdHeader: "request-id",
  readCall,
  answerBody,
  streamTexts,
  errorEvent: (body) => `event: error\ndata: ${JSON.stringify(body)}\n\n`,
  errorAnswer,
  limitHeaders,
};
