import { z } from "zod";
import { blobRefSchema } from "../shared/catalog.ts";
import { readStored } from "../shared/stored-data.ts";
import { ownerFields } from "../shared/tenant.ts";
import { inlineOrBlob, isBlobRef, readBlob, releaseBlob } from "./blobs.ts";
import type { Store } from "./store.ts";

/*
 * A stored response of the API: the JSON at `:response:<id>` says what was asked. Its answer is the result record of its job,
 * whose id has the same UUID: `resp_<uuid>` is of `job-<uuid>`.
 *
 * | from   | to     | by               | who                                        |
 * |--------|--------|------------------|--------------------------------------------|
 * | none   | stored | `saveResponse`   | the API, once its job is in Redis          |
 * | stored | none   | `deleteResponse` | the API, for its owner                     |
 * | stored | none   | –                | as long after it was made as results are kept |
 */

const askedSchema = z.object({
  /** Its own input items, each with an id. */
  input: z.array(z.record(z.string(), z.unknown())),
  /** Parameters that its body says again. */
  echo: z.record(z.string(), z.unknown()),
});

const responseSchema = z.object({
  v: z.literal(1),
  id: z.string(),
  tenant: ownerFields.tenant,
  /** Epoch milliseconds. */
  createdAt: z.number(),
  /** The response that it goes on with. */
  previous: z.string().optional(),
  background: z.boolean(),
  asked: z.union([blobRefSchema, askedSchema]),
});

const KIND = "response";

/** What was asked for a response. */
export interface StoredResponse extends z.infer<typeof askedSchema> {
  id: string;
  tenant?: string | undefined;
  createdAt: number;
  previous?: string | undefined;
  background: boolean;
}

/** Stores what was asked. Stored again, it stays the same. */
export async function saveResponse(
  store: Store,
  { input, echo, ...response }: StoredResponse,
  ttlSeconds: number,
): Promise<void> {
  const { id } = response;
  const asked = await inlineOrBlob(store, id, { input, echo }, ttlSeconds, response.tenant);
  const text = await store.sealing.seal(KIND, id, JSON.stringify({ v: 1, ...response, asked }));
  await store.redis.set(store.keys.response(id), text, "EX", ttlSeconds);
}

/** Returns what was asked for a response; undefined when there is none (any more). @throws GlueError `corrupt_data` */
export async function readResponse(store: Store, id: string): Promise<StoredResponse | undefined> {
  const stored = await store.redis.get(store.keys.response(id));
  if (stored === null) return undefined;
  const text = await store.sealing.open(KIND, id, stored);
  const what = `the response ${id}`;
  const { asked, ...rest } = readStored(what, () => responseSchema.parse(JSON.parse(text)));
  const whole = isBlobRef(asked) ? await readBlob(store, asked) : asked;
  return { ...rest, ...readStored(what, () => askedSchema.parse(whole)) };
}

/** Deletes what was asked. */
export async function deleteResponse(store: Store, id: string): Promise<void> {
  const key = store.keys.response(id);
  const text = await store.sealing.openMaybe(KIND, id, await store.redis.getdel(key));
  const asked = text === null ? undefined : responseSchema.safeParse(JSON.parse(text)).data?.asked;
  if (isBlobRef(asked)) await releaseBlob(store, asked, id);
}
