import type { GlueLLM } from "../../client/glue-llm.ts";
import { isObject } from "../../shared/json.ts";
import { isOwnedBy } from "../../shared/tenant.ts";
import { readResponse, type StoredResponse } from "../../store/response.ts";
import type { Store } from "../../store/store.ts";
import { ApiError, badParameter, notFound } from "../api-error.ts";
import { answered, type Fields, itemId, responseOfItem } from "./response-body.ts";

/** A chain of more responses is refused: each is read for every call. */
const MAX_CHAIN = 500;

export interface ResponseAccess {
  store: Store;
  client: GlueLLM;
  tenant: string;
}

/** Returns a stored response. @throws ApiError 404, also for another tenant's */
export async function storedResponse({ store, tenant }: ResponseAccess, id: string): Promise<StoredResponse> {
  const found = /^resp_[0-9a-f-]{36}$/.test(id) ? await readResponse(store, id) : undefined;
  if (found && isOwnedBy(tenant, found)) return found;
  throw notFound("response", id);
}

/** Returns the id of a response's job. */
export function jobIdOf(responseId: string): string {
  return `job-${responseId.slice("resp_".length)}`;
}

/** Returns an input as items, each with an id. */
export function inputItems(input: unknown, uuid: string): Fields[] {
  const items = typeof input === "string" ? [{ role: "user", content: input }] : input;
  if (!Array.isArray(items)) return [];
  return items.map((item: unknown, n) => {
    if (!isObject(item)) throw badParameter(`input[${n}]`, `input[${n}] is not an object`);
    const { type = "message", id, ...rest } = item;
    if (type === "item_reference") return { type, id };
    const content =
      type === "message" && rest.role !== "assistant" && typeof rest.content === "string"
        ? [{ type: "input_text", text: rest.content }]
        : rest.content;
    return {
      id: id ?? itemId(`resp_${uuid}`, `in_${String(type)}`, n),
      type,
      ...rest,
      ...(content !== undefined && { content }),
    };
  });
}

/**
 * Returns all that the model is to read: what earlier responses asked and answered, then the items of this one, references to
 * items replaced by what they stand for.
 * @throws ApiError for an earlier response that is not there, or has no answer
 */
export async function wholeInput(
  access: ResponseAccess,
  previous: string | undefined,
  items: Fields[],
): Promise<Fields[]> {
  const whole = [...(await earlierItems(access, previous)), ...items];
  // Many items of one answer cost one look at it.
  const answers = new Map<string, Promise<Fields[]>>();
  const itemsOf = (responseId: string) => {
    const known = answers.get(responseId) ?? outputNamed(access, responseId);
    answers.set(responseId, known);
    return known;
  };
  const resolved = await Promise.all(
    whole.map((item) => (item.type === "item_reference" ? itemNamed(itemsOf, String(item.id)) : item)),
  );
  return resolved.flatMap((item) => sendable(item));
}

async function earlierItems(access: ResponseAccess, previous: string | undefined): Promise<Fields[]> {
  const chain: Fields[][] = [];
  for (let id = previous; id !== undefined; ) {
    if (chain.length >= MAX_CHAIN)
      throw badParameter(
        "previous_response_id",
        `the chain has more than ${MAX_CHAIN} responses`,
        "begin a new one",
      );
    const response = await storedResponse(access, id);
    chain.unshift([...response.input, ...(await outputOf(access, response))]);
    id = response.previous;
  }
  return chain.flat();
}

async function outputOf(
  { client }: ResponseAccess,
  { id, echo, background, createdAt }: StoredResponse,
): Promise<Fields[]> {
  const handle = client.handle(jobIdOf(id));
  const { state } = await handle.status();
  if (state !== "succeeded")
    throw new ApiError({
      status: 400,
      code: "response_without_answer",
      param: "previous_response_id",
      message: `the response ${id} has no answer: it is ${state}`,
    });
  const head = { id, echo, background, createdAtMs: createdAt, previous: undefined };
  const { output } = answered(head, await handle.result());
  return output as Fields[];
}

async function outputNamed(access: ResponseAccess, responseId: string): Promise<Fields[]> {
  return outputOf(access, await storedResponse(access, responseId));
}

/** The item of an earlier answer; clients name those in place of sending them again. */
async function itemNamed(itemsOf: (responseId: string) => Promise<Fields[]>, id: string): Promise<Fields> {
  const responseId = responseOfItem(id);
  const found = responseId && (await itemsOf(responseId)).find((item) => item.id === id);
  if (found) return found;
  throw badParameter(
    "input",
    `there is no item "${id.slice(0, 100)}"`,
    "send the item itself",
    "item_not_found",
  );
}

/** Ids and states are ours; what a model thought goes back sealed, or not at all. */
function sendable({ id: _, status: _1, ...item }: Fields): Fields[] {
  if (item.type !== "reasoning") return [item];
  return item.encrypted_content == null ? [] : [{ ...item, summary: item.summary ?? [] }];
}
