import { LRUCache } from "lru-cache";
import { vectorToText } from "../shared/vector-text.ts";
import { NOW, Script } from "./script.ts";
import type { Store } from "./store.ts";

/*
 * The questions of the semantic cache, scope by scope: two are compared only when everything but their last text is equal. A question is
 * in the hash `:semantic:<scope>` under the digest of the exact cache's entry that answers it, as JSON; the sorted set
 * `:semantic:<scope>:order` has the digests by the time they were added. Vectors are part of the JSON, and every process compares
 * with a copy of them; where Redis has vector sets they are in `:semantic:<scope>:vectors`, and Redis compares.
 *
 * | from   | to    | by                                                                                     |
 * |--------|-------|----------------------------------------------------------------------------------------|
 * | absent | there | `add`, after the exact entry was kept                                                  |
 * | there  | gone  | `forget`, when its exact entry is gone; beyond 10,000 of a scope the oldest; with the scope |
 */

/** The questions of a scope, beyond which the oldest go. */
export const MAX_QUESTIONS = 10_000;
const KIND = "question of the semantic cache";
const MAX_NEIGHBOURS = 5;
/** Vectors that a process keeps copies of, in bytes. */
const MAX_COPY_BYTES = 128 * 2 ** 20;
const BYTES_PER_NUMBER = 4;
/** Questions that are read at a time, so that nobody has to wait for all of a large scope. */
const CHUNK = 500;

/** A question that was answered before. */
export interface Question {
  /** Of the exact cache's entry with its answer. */
  digest: string;
  text: string;
  /** Of the answer's call; null when nobody knows it. */
  costUsd: number | null;
}

export interface Neighbour extends Question {
  /** The cosine of both vectors. */
  similarity: number;
}

interface Known extends Question {
  vector: Float32Array;
}

/** A process's copy of a scope. */
interface Copy {
  questions: Map<string, Known>;
  /** When the latest of them was added. */
  upTo: number;
}

/**
 * Adds a question. Keys: the questions, their order, the vector set. Arguments: its `digest`, the `question` as JSON, `ttlMs` of its
 * answer, the `most` of a scope, whether there is a vector set. Returns: nothing. Called after the answer was kept. Fence: none; any
 * answer to the same digest will do.
 */
const ADD = new Script({
  keys: ["questions", "order", "vectors"],
  args: { digest: "text", question: "text", ttlMs: "number", most: "number", hasVectors: "flag" },
  lua: `${NOW}
    redis.call('HSET', questions, digest, question)
    redis.call('ZADD', order, now, digest)
    local excess = redis.call('ZCARD', order) - most
    if excess > 0 then
      for _, old in ipairs(redis.call('ZRANGE', order, 0, excess - 1)) do
        redis.call('HDEL', questions, old)
        redis.call('ZREM', order, old)
        if hasVectors then redis.call('VREM', vectors, old) end
      end
    end
    for _, key in ipairs({questions, order, vectors}) do
      if redis.call('PTTL', key) < ttlMs then redis.call('PEXPIRE', key, ttlMs) end
    end
  `,
});

/** The questions that a store has, and the nearest of them. */
export class SemanticIndex {
  readonly #store: Store;
  readonly #copies = new LRUCache<string, Copy>({ maxSize: MAX_COPY_BYTES });
  #hasVectors: Promise<boolean> | undefined;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Returns the nearest questions of a scope with at least this similarity, the nearest first. The vector's length is 1. */
  async nearest(plain: string, vector: Float32Array, least: number): Promise<Neighbour[]> {
    const scope = await this.#store.sealing.digest(plain);
    const found = (await this.#usesVectors())
      ? await this.#askVectors(scope, vector)
      : await this.#scan(scope, vector);
    return found.filter(({ similarity }) => similarity >= least);
  }

  /** Adds a question, whose answer lives so long. */
  async add(
    plain: string,
    { digest, text, costUsd }: Question,
    vector: Float32Array,
    ttlSeconds: number,
  ): Promise<void> {
    const { redis, keys } = this.#store;
    const scope = await this.#store.sealing.digest(plain);
    const hasVectors = await this.#usesVectors();
    const { sealing } = this.#store;
    const kept = { text, costUsd, ...(!hasVectors && { vector: vectorToText([...vector]) }) };
    // With its digest, which the field that it is kept under does not tell.
    const known = JSON.stringify(sealing.isOn ? { ...kept, digest } : kept);
    const field = await sealing.digest(digest);
    const question = await sealing.seal(KIND, field, known);
    if (hasVectors) {
      await redis.call("VADD", keys.semanticVectors(scope), "FP32", bytesOf(vector), digest, "NOQUANT");
    }
    await ADD.run(
      redis,
      {
        questions: keys.semantic(scope),
        order: keys.semanticOrder(scope),
        vectors: keys.semanticVectors(scope),
      },
      { digest: field, question, ttlMs: ttlSeconds * 1000, most: MAX_QUESTIONS, hasVectors },
    );
  }

  /** Removes a question whose answer is gone. */
  async forget(plainScope: string, plain: string): Promise<void> {
    const { redis, keys } = this.#store;
    const scope = await this.#store.sealing.digest(plainScope);
    const digest = await this.#store.sealing.digest(plain);
    this.#copies.peek(scope)?.questions.delete(digest);
    await redis.multi().hdel(keys.semantic(scope), digest).zrem(keys.semanticOrder(scope), digest).exec();
    if (await this.#usesVectors()) await redis.call("VREM", keys.semanticVectors(scope), digest);
  }

  /** Whether Redis has vector sets: from version 8 on. */
  async #usesVectors(): Promise<boolean> {
    // A vector tells what it was made of, and a set has it as it is.
    if (this.#store.sealing.isOn) return false;
    this.#hasVectors ??= this.#store.redis
      .call("COMMAND", "INFO", "VADD")
      .then((told) => Array.isArray(told) && Array.isArray(told[0]) && told[0].length > 0);
    // Whoever could not be asked is asked again.
    this.#hasVectors.catch(() => {
      this.#hasVectors = undefined;
    });
    return this.#hasVectors;
  }

  async #askVectors(scope: string, vector: Float32Array): Promise<Neighbour[]> {
    const { redis, keys } = this.#store;
    const key = keys.semanticVectors(scope);
    const told = (await redis
      .call("VSIM", key, "FP32", bytesOf(vector), "WITHSCORES", "COUNT", MAX_NEIGHBOURS)
      .catch((error: Error) => {
        // Vectors of another length.
        if (/dimension/i.test(error.message)) return [];
        throw error;
      })) as string[];
    const digests = told.filter((_, i) => i % 2 === 0);
    if (digests.length === 0) return [];
    const questions = await redis.hmget(keys.semantic(scope), ...digests);
    return digests.flatMap((digest, i) => {
      const text = questions[i];
      // Its score is (1 + cosine) / 2.
      const similarity = 2 * Number(told[2 * i + 1]) - 1;
      return text ? { digest, ...(JSON.parse(text) as Omit<Question, "digest">), similarity } : [];
    });
  }

  async #scan(scope: string, vector: Float32Array): Promise<Neighbour[]> {
    const { questions } = await this.#copyOf(scope);
    const near: Neighbour[] = [];
    for (const { vector: other, ...question } of questions.values()) {
      if (other.length !== vector.length) continue;
      const similarity = dot(vector, other);
      if (near.length === MAX_NEIGHBOURS && similarity <= (near.at(-1)?.similarity ?? 0)) continue;
      near.push({ ...question, similarity });
      near.sort((a, b) => b.similarity - a.similarity);
      near.length = Math.min(near.length, MAX_NEIGHBOURS);
    }
    return near;
  }

  /** The scope as it is in Redis; only what came since the last look is read. */
  async #copyOf(scope: string): Promise<Copy> {
    const { redis, keys } = this.#store;
    const copy = this.#copies.get(scope) ?? { questions: new Map(), upTo: 0 };
    const told = await redis.zrange(keys.semanticOrder(scope), copy.upTo, "+inf", "BYSCORE", "WITHSCORES");
    const added = told.filter((digest, i) => i % 2 === 0 && !copy.questions.has(digest));
    for (let at = 0; at < added.length; at += CHUNK) {
      const digests = added.slice(at, at + CHUNK);
      const texts = await redis.hmget(keys.semantic(scope), ...digests);
      for (const [i, digest] of digests.entries()) {
        const known = toKnown(digest, await this.#store.sealing.openMaybe(KIND, digest, texts[i] ?? null));
        if (known) copy.questions.set(digest, known);
      }
    }
    // The oldest went from Redis too.
    for (const digest of copy.questions.keys()) {
      if (copy.questions.size <= MAX_QUESTIONS) break;
      copy.questions.delete(digest);
    }
    copy.upTo = Math.max(copy.upTo, Number(told.at(-1) ?? 0));
    const [first] = copy.questions.values();
    const size = 1000 + copy.questions.size * ((first?.vector.length ?? 0) * BYTES_PER_NUMBER + 300);
    this.#copies.set(scope, copy, { size });
    return copy;
  }
}

function toKnown(digest: string, text: string | null | undefined): Known | undefined {
  if (!text) return undefined;
  const { vector, ...question } = JSON.parse(text) as Omit<Question, "digest"> & { vector?: string };
  if (vector === undefined) return undefined;
  // The copy begins at a place where numbers may begin.
  return {
    digest,
    ...question,
    vector: new Float32Array(new Uint8Array(Buffer.from(vector, "base64")).buffer),
  };
}

function bytesOf(vector: Float32Array): Buffer {
  return Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength);
}

function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] as number) * (b[i] as number);
  return sum;
}
