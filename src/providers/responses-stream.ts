import { fieldsOf, isObject } from "../shared/json.ts";
import { argumentsText } from "../shared/tool-calls.ts";
import { makeCallId } from "./normal-form.ts";
import type { OnDelta } from "./provider.ts";
import { isCommentary } from "./responses-answer.ts";
import { StreamTeller } from "./stream-teller.ts";

type Fields = Record<string, unknown>;

interface Item {
  place: unknown;
  fields: Fields;
  /** Its parts, by their list and their place in it. */
  parts: Map<string, Fields>;
}

const ENDS = /^response\.(completed|incomplete|failed|cancelled|done)$/;
const CALLS: readonly unknown[] = ["function_call", "custom_tool_call"];

/** A stream of Responses events, put together as the `response` that would have come without streaming. */
class ResponseStream {
  readonly #tell: StreamTeller;
  readonly #items: Item[] = [];
  readonly #told = new Set<Fields>();
  #response: Fields | undefined;

  constructor(onDelta: OnDelta) {
    this.#tell = new StreamTeller(onDelta);
  }

  /** Adds an event; those of further types say nothing that is not in the response at the end. */
  add(event: unknown): void {
    const { type, item, response, delta, ...fields } = fieldsOf(event);
    const [, what, verb] = /^response\.(.+)\.(added|delta|done)$/.exec(String(type)) ?? [];
    if (ENDS.test(String(type)) && isObject(response)) this.#response = response;
    if (what === "output_item" && isObject(item)) {
      if (verb === "added") this.#open(fields.output_index, item);
      if (verb === "done") this.#close(fields, item);
    }
    if (verb !== "delta" || typeof delta !== "string" || delta === "") return;
    if (what === "output_text") this.#addText(fields, delta, "text");
    if (what === "refusal") this.#addText(fields, delta, "refusal");
    if (what === "function_call_arguments" || what === "custom_tool_call_input")
      this.#addArguments(fields, delta);
    if (what === "reasoning_summary_text" || what === "reasoning_summary")
      this.#addReasoning(fields, delta, "summary");
    if (what === "reasoning_text" || what === "reasoning") this.#addReasoning(fields, delta, "content");
  }

  /** Returns the `response`; undefined when the stream did not say that it has ended. */
  body(): unknown {
    if (!this.#response) return undefined;
    this.#tell.end();
    const { output } = this.#response;
    const whole =
      Array.isArray(output) && output.length > 0 ? output : this.#items.map(({ fields }) => fields);
    return { ...this.#response, output: whole.map((item, at) => this.#withToldId(item, at)) };
  }

  /** A call that came without an id has the one that was told. */
  #withToldId(item: unknown, at: number): unknown {
    if (!isObject(item) || !CALLS.includes(item.type) || item.call_id) return item;
    const told = this.#items.find(({ place }) => place === at) ?? this.#items[at];
    return { ...item, call_id: told?.fields.call_id };
  }

  #open(place: unknown, given: Fields): Fields {
    const fields: Fields = { ...given };
    this.#items.push({ place, fields, parts: new Map() });
    // Without its name, a call whose beginning did not come is told at its end.
    if (CALLS.includes(fields.type) && fields.name) this.#tellCall(fields);
    return fields;
  }

  #tellCall(fields: Fields): void {
    const { call_id, id, name } = fields;
    const key = argumentsField(fields);
    fields[key] = argumentsText(fields);
    fields.call_id = call_id || id || makeCallId();
    this.#told.add(fields);
    this.#tell.toolCall(this.#toolIndex(fields), {
      id: String(fields.call_id),
      name: String(name ?? ""),
      arguments: String(fields[key]),
    });
  }

  /** The item at its end is whole; what of a call was not told is told now. */
  #close({ output_index: place, item_id }: Fields, item: Fields): void {
    const standing =
      this.#find({ output_index: place, item_id: item_id ?? item.id }) ?? this.#open(place, item);
    const { call_id: callId, [argumentsField(item)]: args } = standing;
    const isTold = this.#told.has(standing);
    Object.assign(standing, item, isTold && { call_id: callId });
    if (!CALLS.includes(item.type)) return;
    const whole = argumentsText(item);
    if (!isTold) this.#tellCall(standing);
    else if (args === "" && whole !== "")
      this.#tell.toolCall(this.#toolIndex(standing), { arguments: whole });
  }

  #addText(event: Fields, delta: string, kind: "text" | "refusal"): void {
    const item = this.#itemFor(event, "message", { type: "message", role: "assistant", content: [] });
    const part = this.#partOf(item, `content ${kind} ${event.content_index}`, {
      type: kind === "text" ? "output_text" : "refusal",
    });
    part[kind] = `${part[kind] ?? ""}${delta}`;
    if (kind === "refusal") return;
    if (isCommentary(item)) this.#tell.reasoning(delta, item);
    else this.#tell.text(delta);
  }

  #addArguments(event: Fields, delta: string): void {
    const item = this.#itemFor(event, "function_call", { type: "function_call", name: event.name });
    const key = argumentsField(item);
    item[key] = `${item[key] ?? ""}${delta}`;
    if (this.#told.has(item)) this.#tell.toolCall(this.#toolIndex(item), { arguments: delta });
  }

  #addReasoning(event: Fields, delta: string, field: "summary" | "content"): void {
    const item = this.#itemFor(event, "reasoning", { type: "reasoning" });
    const part = this.#partOf(item, `${field} ${event.summary_index ?? event.content_index}`, {
      type: field === "summary" ? "summary_text" : "reasoning_text",
    });
    part.text = `${part.text ?? ""}${delta}`;
    this.#tell.reasoning(delta, part);
  }

  #itemFor(event: Fields, type: string, made: Fields): Fields {
    return (
      this.#find(event) ??
      this.#lastOf(event, type) ??
      this.#open(event.output_index, { ...made, id: event.item_id })
    );
  }

  /** Some servers give the events of one item several ids, others leave its place out. */
  #find({ output_index: place, item_id: id }: Fields): Fields | undefined {
    const byPlace = typeof place === "number" ? this.#items.find((item) => item.place === place) : undefined;
    const byId = id == null ? undefined : this.#items.find(({ fields }) => fields.id === id);
    return (byPlace ?? byId)?.fields;
  }

  #lastOf({ output_index: place, item_id: id }: Fields, type: string): Fields | undefined {
    if (place != null || id != null) return undefined;
    return this.#items.findLast(({ fields }) => fields.type === type)?.fields;
  }

  /** Returns the part of an item that a piece is of. @param key the list that it stands in, and its place there */
  #partOf(item: Fields, key: string, made: Fields): Fields {
    const parts = this.#items.find(({ fields }) => fields === item)?.parts;
    const known = parts?.get(key);
    if (known) return known;
    const [list = ""] = key.split(" ");
    const part = { ...made };
    item[list] = [...(Array.isArray(item[list]) ? item[list] : []), part];
    parts?.set(key, part);
    return part;
  }

  /** Returns the place of an item among the tool calls, as Chat Completions counts them. */
  #toolIndex(item: Fields): number {
    return this.#items
      .filter(({ fields }) => CALLS.includes(fields.type))
      .findIndex((one) => one.fields === item);
  }
}

function argumentsField({ type }: Fields): "input" | "arguments" {
  return type === "custom_tool_call" ? "input" : "arguments";
}

/**
 * Reads a stream of Responses to its end and tells its pieces.
 * @returns the `response` it adds up to; undefined when it ended before it said so.
 */
export async function readResponseStream(events: AsyncIterable<unknown>, onDelta: OnDelta): Promise<unknown> {
  const stream = new ResponseStream(onDelta);
  for await (const event of events) stream.add(event);
  return stream.body();
}
