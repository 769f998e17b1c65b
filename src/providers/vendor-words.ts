import { fieldsOf } from "../shared/json.ts";

type Fields = Record<string, unknown>;

/** What vendors call the faults that decide what happens next, beside OpenAI's and Anthropic's words. */
export const QUOTA_CODES: ReadonlySet<string> = new Set([
  ...["insufficient_quota", "billing_error", "billing_hard_limit_reached", "billing_not_active"],
  ...["contract_spend_limit_reached", "enforced_spend_limit_reached", "organization_on_hold"],
  ...["linked_organization_spend_limit_reached", "linked_organization_billing_unavailable"],
  // Kimi; Qwen; GLM; LiteLLM.
  ...["exceeded_current_quota_error", "Arrearage", "1113", "budget_exceeded"],
]);
/** No room in the tier flex, which is no limit of the account. */
export const NO_ROOM_CODES: ReadonlySet<string> = new Set(["resource_unavailable", "capacity_exceeded"]);
export const NO_ROOM = /^resource.unavailable/i;
export const KEY_CODES: ReadonlySet<string> = new Set([
  ...["invalid_api_key", "authentication_error", "permission_error", "API_KEY_INVALID"],
]);
export const MODEL_CODES: ReadonlySet<string> = new Set(["model_not_found", "not_found_error"]);
/** Anthropic; Kimi; Cerebras. */
export const OVERLOAD_CODES: ReadonlySet<string> = new Set([
  ...["overloaded_error", "engine_overloaded_error", "queue_exceeded"],
]);
/** OpenAI and Groq; llama.cpp; GLM. */
export const TOO_LONG_CODES: ReadonlySet<string> = new Set([
  ...["context_length_exceeded", "exceed_context_size_error", "1261"],
]);
/** Azure and Kimi; OpenAI; Qwen; GLM. */
export const MODERATION_CODES: ReadonlySet<string> = new Set([
  ...["content_filter", "content_policy_violation", "data_inspection_failed", "DataInspectionFailed", "1301"],
]);
/** Groq: the model has answered, with a call or JSON that is none. The next answer may be a better one. */
export const MISGENERATED_CODES: ReadonlySet<string> = new Set([
  ...["tool_use_failed", "json_validate_failed", "output_parse_failed"],
]);
/** AWS and Qwen, also with status 400. */
export const THROTTLE_CODE = /throttl|^TooManyRequests/i;

// Where a provider gives the fault no code, the start of its text is all there is. The patterns are anchored:
// further on the text may quote the prompt.
export const CREDIT_USED_UP = /^Your credit balance is too low/i;
export const BAD_KEY = /^(Incorrect API key provided|API key not valid|Invalid API key)/i;
export const UNKNOWN_MODEL = /^\S{1,100} is not a valid model ID/i;
export const TOO_LONG = new RegExp(
  `^(${[
    "prompt is too long",
    "input length and `max_tokens` exceed context limit",
    "This (endpoint|model)'s maximum (context|prompt) length is",
    "The input token count .{0,40}exceeds",
    // Bedrock; llama.cpp; Kimi; Text Generation Inference; Mistral; Qwen.
    "Input is too long for requested model",
    "the request exceeds the available context size",
    "Your request exceeded model token limit",
    "Input validation error: `inputs` (tokens \\+|must have less than)",
    "Prompt contains \\d+ tokens .{0,60}too large for model",
    "Range of input length should be",
  ].join("|")})`,
  "i",
);
export const MORE_THAN_A_MINUTES_BUDGET = /^Request too large/i;
export const REFUSED_CONTENT = /^Content violates usage guidelines/i;
/** LM Studio, with status 400: the same request is answered once it is loaded again. */
export const MODEL_IS_GONE = /^(Model unloaded|The model has crashed|Failed to load model)/i;

/** The statuses of MiniMax's codes, which come with status 200; all others are faults on its side. */
const BASE_RESP_STATUSES: Record<number, number> = {
  1001: 504,
  1002: 429,
  1004: 401,
  1008: 402,
  1026: 400,
  1027: 400,
  1039: 429,
  1041: 429,
  1042: 400,
  2013: 400,
  2045: 429,
  2049: 401,
  2056: 429,
};
const BASE_RESP_MODERATED: ReadonlySet<unknown> = new Set([1026, 1027]);

/**
 * Returns the error that a body of status 200, or an event of a stream, states in the words of any vendor; undefined where
 * it states none.
 */
export function statedError(body: unknown): unknown {
  const fields = fieldsOf(body);
  const { error, errors, choices, success, base_resp: base, x_groq: groq } = fields;
  if (isStated(error)) return error;
  // vLLM and its kin; Anthropic.
  if (fields.object === "error" || fields.type === "error") return body;
  const ofChoice = fieldsOf(Array.isArray(choices) ? choices[0] : undefined).error;
  if (isStated(ofChoice)) return ofChoice;
  const ofGroq = fieldsOf(groq).error;
  if (isStated(ofGroq)) return ofGroq;
  // Cloudflare and other gateways.
  if (success === false) return Array.isArray(errors) && isStated(errors[0]) ? errors[0] : body;
  return baseRespError(fieldsOf(base));
}

/** Some servers write an empty object for no error. */
function isStated(error: unknown): boolean {
  return Boolean(error) && (typeof error !== "object" || Object.keys(error as object).length > 0);
}

function baseRespError({ status_code: code, status_msg: message }: Fields): Fields | undefined {
  if (typeof code !== "number" || code === 0) return undefined;
  const type = BASE_RESP_MODERATED.has(code) ? "content_filter" : `base_resp_${code}`;
  return { code: BASE_RESP_STATUSES[code] ?? 502, type, message };
}
