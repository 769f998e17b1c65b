import { isObject, parseJson } from "../shared/json.ts";

const INTERNAL_ERROR = -32_603;

/**
 * Returns what is wrong with the answer to a request; undefined for a response of JSON-RPC, and for what is no answer to it. The SDK
 * passes a wrong one over, so that the call would wait until its time is up.
 */
export function answerFault(message: unknown, id: unknown): string | undefined {
  if (!isObject(message) || message.id !== id || "method" in message) return undefined;
  const { jsonrpc, result, error } = message;
  if (jsonrpc !== "2.0") return wrong(`its "jsonrpc" is ${shown(jsonrpc)}, not "2.0"`);
  if (isObject(result)) return undefined;
  if ("result" in message) return wrong(`its "result" is ${shown(result)}, not an object`);
  if (!("error" in message)) return wrong('it has neither "result" nor "error"');
  const isError = isObject(error) && Number.isInteger(error.code) && typeof error.message === "string";
  return isError ? undefined : wrong(`its "error" is ${shown(error)}, without a code and a message`);
}

/** Returns the answer that a request gets in place of a wrong one. */
export function errorAnswer(id: string | number, message: string) {
  return { jsonrpc: "2.0" as const, id, error: { code: INTERNAL_ERROR, message } };
}

/** Returns the id of the request that a text is; undefined when it is none. */
export function requestId(text: unknown): string | number | undefined {
  const message = typeof text === "string" ? parseJson(text) : undefined;
  if (!isObject(message) || !("method" in message)) return undefined;
  const { id } = message;
  return typeof id === "string" || typeof id === "number" ? id : undefined;
}

function wrong(why: string): string {
  return `the server's answer is no response of JSON-RPC: ${why}`;
}

function shown(value: unknown): string {
  return (JSON.stringify(value) ?? "absent").slice(0, 100);
}
