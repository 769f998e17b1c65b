import { fieldsOf, parseJson } from "../shared/json.ts";
import { DEFAULT_TENANT } from "../shared/tenant.ts";
import { namespaceKeys } from "./namespace-keys.ts";
import type { Store } from "./store.ts";

/** What is to be removed. */
export type PurgeTarget = { kind: "tenant" | "conversation" | "run" | "batch" | "job"; id: string };

/** An object as Redis tells of it. */
export interface KnownObject {
  kind: "job" | "run" | "batch" | "file" | "conversation" | "key" | "webhook" | "schedule";
  id: string;
  tenant: string;
  /** What it belongs to: its run, batch or conversation, or the run above. */
  of: string[];
  /** It waits or runs. */
  isOpen: boolean;
}

const KINDS: Readonly<Record<string, KnownObject["kind"]>> = {
  ...{ result: "job", workflow: "run", batch: "batch", "served-batch": "batch", file: "file" },
  ...{ conversation: "conversation", "api-key": "key", webhook: "webhook", schedule: "schedule" },
};
const ENDED_BATCHES = /^(completed|failed|expired|cancelled)$/;

/** Returns all objects of a namespace, in one walk over its keys; an object may come twice. */
export async function knownObjects(store: Store): Promise<KnownObject[]> {
  const objects: KnownObject[] = [];
  for await (const { key, parts, type } of namespaceKeys(store)) {
    const [head = "", id = ""] = parts;
    const kind = KINDS[head];
    if (kind !== undefined && parts.length === 2) {
      const record =
        type === "hash"
          ? await store.redis.hgetall(key)
          : fieldsOf(parseJson((type === "string" && (await store.redis.get(key))) || "null"));
      objects.push(...ofRecord(kind, id, record));
      if (kind === "run") objects.push(...(await ofJournal(store, id, record)));
    } else if (parts.length === 2 && type === "hash") {
      const [data, finishedOn] = await store.redis.hmget(key, "data", "finishedOn");
      if (data) objects.push(ofJob(id, fieldsOf(parseJson(data)), finishedOn === null));
    }
  }
  return objects;
}

function ofRecord(kind: KnownObject["kind"], id: string, record: Record<string, unknown>): KnownObject[] {
  const tenant = String(record.tenant ?? (id.includes("/") ? id.split("/")[0] : DEFAULT_TENANT));
  const of = [record.parentRunId, record.retryOf].filter((one) => typeof one === "string");
  const status = String(record.status ?? "");
  const isOpen =
    (kind === "run" && status === "running") ||
    (kind === "batch" && status !== "" && !ENDED_BATCHES.test(status));
  const own: KnownObject = { kind, id, tenant, of, isOpen };
  if (kind !== "conversation") return [own];
  const jobs = Object.keys(record).filter((field) => field.startsWith("job:"));
  return [own, ...jobs.map((field) => jobOf(field.slice(4), tenant, id))];
}

/** Jobs of its steps, which their queues may have forgotten. */
async function ofJournal(store: Store, id: string, record: Record<string, unknown>): Promise<KnownObject[]> {
  const journal = await store.redis.lrange(store.keys.workflowJournal(id), 0, -1).catch(() => []);
  const jobs = journal.map((json) => fieldsOf(parseJson(json)).job).filter((job) => typeof job === "string");
  return jobs.map((job) => jobOf(job, String(record.tenant ?? DEFAULT_TENANT), id));
}

function jobOf(id: string, tenant: string, of: string): KnownObject {
  return { kind: "job", id, tenant, of: [of], isOpen: false };
}

/** Of what BullMQ has of a job. */
function ofJob(id: string, payload: Record<string, unknown>, isOpen: boolean): KnownObject {
  const above = [
    fieldsOf(payload.workflow).runId,
    fieldsOf(payload.batch).id,
    fieldsOf(payload.conversation).id,
    payload.runId,
  ];
  const of = above.filter((one): one is string => typeof one === "string");
  return { kind: "job", id, tenant: String(payload.tenant ?? DEFAULT_TENANT), of, isOpen };
}

/** Returns the target's objects, and all that belongs to them. */
export function objectsOf(target: PurgeTarget, known: readonly KnownObject[]): KnownObject[] {
  const isTarget = ({ kind, id, tenant }: KnownObject) =>
    target.kind === "tenant" ? tenant === target.id : kind === target.kind && id === target.id;
  const found = new Set(known.filter(isTarget));
  for (let size = -1; size !== found.size; ) {
    size = found.size;
    const ids = new Set([...found].map(({ id }) => id));
    for (const one of known) if (ids.has(one.id) || one.of.some((above) => ids.has(above))) found.add(one);
  }
  return [...found];
}
