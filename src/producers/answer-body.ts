import type { Redis } from "ioredis";
import { isBlobRef, readBlob } from "../shared/blobs.ts";
import type { BlobRef } from "../shared/catalog.ts";
import { type ChatCompletion, chatCompletionSchema } from "../shared/chat.ts";
import type { RedisKeys } from "../shared/redis-keys.ts";

/** A recorded answer's body, fetched from its blob when it was too large to lie in the record. */
export async function readAnswerBody(
  redis: Redis,
  keys: RedisKeys,
  body: ChatCompletion | BlobRef,
): Promise<ChatCompletion> {
  return isBlobRef(body) ? chatCompletionSchema.parse(await readBlob(redis, keys, body)) : body;
}
