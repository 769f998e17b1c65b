import { type NamespaceKey, namespaceKeys } from "./namespace-keys.ts";
import type { KnownObject, PurgeTarget } from "./purge-targets.ts";
import type { Store } from "./store.ts";

/*
 * What Redis has of some objects, wherever it is: found by one walk over all keys of the namespace, by the ids in the names of keys, of
 * fields and elements; and in the values of those keys that list things of many objects. What another object's record, journal or
 * prompt says stays its own, even if it quotes an id.
 */

const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;
const NAME = /^[\w.:/@-]{1,300}$/;
/** The cache belongs to nobody: it goes as a whole. */
const CACHES = /^(cache|cache-lead|cache-uses|cache-sizes|semantic|semantic-report)$/;
/** Keys whose values are of many objects, a value each. */
const LISTS =
  /^(errors|successes|lane-calls|lane-told|unreadable|refused|webhook|schedule|outbox|idempotency.*)$/;
/** Hashes whose fields name tenants, some beside other words. */
const BY_TENANT = /^(tenants|shares|outbox|errors|successes)$/;
/** The audit tells of acts, not of what was asked. */
const STAYS = /^(audit|workers|worker|outbox:audit)(:|$)/;

/** Where something was found. */
export interface PurgePlace {
  key: string;
  /** How many fields, elements or entries of it; absent: the whole key. */
  parts?: number;
}

/** Knows what belongs to the objects. */
class Belongings {
  readonly #target: PurgeTarget;
  readonly #ids = new Set<string>();
  /** Of ids that we have made: things of one object share it, `job-<uuid>` and `resp_<uuid>`. */
  readonly #uuids = new Set<string>();
  readonly #jobs = new Set<string>();
  readonly #heads = new Set<string>();

  constructor(target: PurgeTarget, objects: readonly KnownObject[]) {
    this.#target = target;
    for (const { kind, id } of objects) {
      this.#ids.add(id);
      if (kind === "job") this.#jobs.add(id);
      for (const uuid of id.match(UUID) ?? []) this.#uuids.add(uuid);
      for (const head of HEADS[kind]) this.#heads.add(`${head}:${id}`);
    }
    if (target.kind === "tenant")
      for (const head of ["tenant", "files", "served-batches"]) this.#heads.add(`${head}:${target.id}`);
  }

  hasKey(parts: readonly string[]): boolean {
    const [head = "", id = ""] = parts;
    if (CACHES.test(head) || this.#heads.has(`${head}:${id}`) || this.#jobs.has(id)) return true;
    if (this.#target.kind === "tenant" && head === `idempotency@${this.#target.id}`) return true;
    return this.#quotes(parts.join(":"));
  }

  /** Of the name of a field, or an element. */
  hasName(head: string, name: string): boolean {
    if (this.#ids.has(name) || this.#ids.has(name.replace(/^(owner|job):/, ""))) return true;
    const { kind, id } = this.#target;
    if (kind === "tenant" && BY_TENANT.test(head) && name.split(/[\t:]/).includes(id)) return true;
    return NAME.test(name) && this.#quotes(name);
  }

  /** Of a value, where each is of one object. */
  hasValue(head: string, value: string): boolean {
    return LISTS.test(head) && this.#quotes(value);
  }

  #quotes(text: string): boolean {
    return (text.match(UUID) ?? []).some((uuid) => this.#uuids.has(uuid));
  }
}

const HEADS: Readonly<Record<KnownObject["kind"], readonly string[]>> = {
  job: ["result", "journal", "waits", "stream", "cost", "activity"],
  run: ["workflow"],
  batch: ["batch", "served-batch"],
  file: ["file"],
  conversation: ["conversation"],
  key: ["api-key"],
  webhook: ["webhook"],
  schedule: ["schedule"],
};

/** Returns where Redis has something of the objects; with `removes` it is gone then. */
export async function purgeRedis(
  store: Store,
  { target, objects, removes }: { target: PurgeTarget; objects: readonly KnownObject[]; removes: boolean },
): Promise<PurgePlace[]> {
  const belongings = new Belongings(target, objects);
  const places: PurgePlace[] = [];
  for await (const found of namespaceKeys(store)) {
    const name = found.parts.join(":");
    if (STAYS.test(name)) continue;
    if (belongings.hasKey(found.parts)) {
      places.push({ key: found.key });
      if (removes) await store.redis.unlink(found.key);
      continue;
    }
    const parts = await partsOf(store, found, belongings, removes);
    if (parts !== 0) places.push({ key: found.key, ...(parts > 0 && { parts }) });
  }
  return places;
}

/** Looks into a key. Returns how many of its parts belong to the objects; -1: all of it does. */
async function partsOf(
  { redis }: Store,
  { key, parts: [head = ""], type }: NamespaceKey,
  belongings: Belongings,
  removes: boolean,
): Promise<number> {
  const has = (text: string) => belongings.hasName(head, text) || belongings.hasValue(head, text);
  switch (type) {
    case "string": {
      if (!belongings.hasValue(head, (await redis.get(key)) ?? "")) return 0;
      if (removes) await redis.unlink(key);
      return -1;
    }
    case "hash": {
      const fields = Object.entries(await redis.hgetall(key)).flatMap(([name, value]) =>
        belongings.hasName(head, name) || belongings.hasValue(head, value) ? [name] : [],
      );
      if (fields.length > 0 && removes) {
        await redis.hdel(key, ...fields);
        // A value that others have too stays while they do.
        if (head === "blob" && (await redis.hlen(key)) <= 1) await redis.unlink(key);
      }
      return fields.length;
    }
    case "list": {
      const elements = (await redis.lrange(key, 0, -1)).filter(has);
      if (removes) for (const element of new Set(elements)) await redis.lrem(key, "0", element);
      return elements.length;
    }
    case "set": {
      const members = (await redis.smembers(key)).filter(has);
      if (members.length > 0 && removes) await redis.srem(key, ...members);
      return members.length;
    }
    case "zset": {
      const members = (await redis.zrange(key, "0", "-1")).filter(has);
      if (members.length > 0 && removes) await redis.zrem(key, ...members);
      return members.length;
    }
    case "stream": {
      // Events of a queue, and the outbox, whose details may quote.
      const isOf = (fields: readonly string[]) =>
        fields.some((value, n) => n % 2 === 1 && !QUOTING.has(fields[n - 1] ?? "") && has(value));
      const entries = (await redis.xrange(key, "-", "+")).filter(([, fields]) => isOf(fields));
      if (entries.length > 0 && removes) await redis.xdel(key, ...entries.map(([id]) => id));
      return entries.length;
    }
    default:
      return 0;
  }
}

const QUOTING: ReadonlySet<string> = new Set(["detail", "returnvalue", "failedReason"]);
