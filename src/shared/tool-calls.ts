import { isObject } from "./json.ts";

/** A call of a tool, as answers have it; what else its provider wrote into it is kept. */
export interface AnswerToolCall {
  [field: string]: unknown;
  id: string;
  type: "function";
  /** `arguments` is JSON text, or what the model wrote in its place. */
  function: { [field: string]: unknown; name: string; arguments: string };
}

/**
 * Returns an answer's tool calls, each with an id of its own and its arguments as text; undefined when there are none.
 * Servers write arguments as objects, leave out ids or give two calls the same, or write the function's fields into the call.
 * @param makeId the id of the call at `index`, where it has none
 */
export function toToolCalls(raw: unknown, makeId: (index: number) => string): AnswerToolCall[] | undefined {
  const given = (Array.isArray(raw) ? raw : [raw]).filter(isCall);
  const ids = new Set<string>();
  const calls = given.map((call, index) => {
    const id = textOf(call.id);
    const isOwn = id !== "" && !ids.has(id);
    const made = isOwn ? id : makeId(index);
    ids.add(made);
    return toToolCall(call, made);
  });
  return calls.length > 0 ? calls : undefined;
}

/** Returns a call's function, wherever its fields stand. */
export function calledFunction(call: Record<string, unknown>): Record<string, unknown> {
  if (isObject(call.function)) return call.function;
  if (isObject(call.custom)) return call.custom;
  return call;
}

/** Returns a call's arguments as text, empty where there are none. */
export function argumentsText(called: Record<string, unknown>): string {
  const args = called.arguments ?? called.input ?? called.parameters ?? "";
  return typeof args === "string" ? args : JSON.stringify(args);
}

function toToolCall(call: Record<string, unknown>, id: string): AnswerToolCall {
  const called = calledFunction(call);
  const { index: _, function: __, custom: ___, ...rest } = call;
  const text = argumentsText(called);
  const name = textOf(called.name);
  // The function's fields of a flat call stand in its function alone.
  if (called === call) for (const field of ["name", "arguments", "input", "parameters"]) delete rest[field];
  const own = called === call ? {} : called;
  return {
    ...rest,
    id,
    type: "function",
    function: { ...own, name, arguments: text.trim() === "" ? "{}" : text },
  };
}

function isCall(raw: unknown): raw is Record<string, unknown> {
  if (!isObject(raw)) return false;
  const called = calledFunction(raw);
  return textOf(called.name) !== "" || argumentsText(called) !== "";
}

/** Some servers number their calls. */
function textOf(value: unknown): string {
  return typeof value === "number" ? String(value) : typeof value === "string" ? value : "";
}
