import { createHash } from "node:crypto";
import { cpSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Redis } from "ioredis";
import type { DumpedKey } from "../fixtures/dump-format.ts";
import type { Manifest } from "../fixtures/manifest.ts";
import type { TestSite } from "./site.ts";

/** How far from the recording a number may lie that is taken for a time: further than any deadline of it. */
const NEAR_MS = 60 * 86_400_000;

export function readManifest(folder: string): Manifest {
  return JSON.parse(readFileSync(join(folder, "manifest.json"), "utf8")) as Manifest;
}

/**
 * Writes a recorded namespace into that of the site, and the batch's files into its folder, as if the recording had been
 * made just now and with the site's simulator.
 */
export async function restoreFixture(folder: string, site: TestSite, redis: Redis): Promise<void> {
  const dump = JSON.parse(readFileSync(join(folder, "redis.json"), "utf8")) as DumpedKey[];
  const translate = translator(readManifest(folder), site);
  const writing = redis.multi();
  for (const one of dump) {
    const key = translate(one.key);
    writing.call(...commandOf(one, key, translate));
    // A time of life is no point in time: what was left of it is left now.
    if (one.type === "stream")
      for (const entry of one.content) writing.call("XADD", key, ...streamEntry(entry, translate));
    if (one.ttlMs >= 0) writing.pexpire(key, one.ttlMs);
  }
  for (const [error] of (await writing.exec()) ?? []) if (error) throw error;
  cpSync(join(folder, "batch"), site.folder, { recursive: true });
}

type Translate = (text: string) => string;

function commandOf(one: DumpedKey, key: string, translate: Translate): [string, ...string[]] {
  switch (one.type) {
    case "string":
      return ["SET", key, translate(one.content)];
    case "hash":
      return ["HSET", key, ...Object.entries(one.content).flat().map(translate)];
    case "list":
      return ["RPUSH", key, ...one.content.map(translate)];
    case "set":
      return ["SADD", key, ...one.content.map(translate)];
    case "zset":
      return [
        "ZADD",
        key,
        ...one.content.flatMap(([member, score]) => [translate(score), translate(member)]),
      ];
    case "stream":
      return ["DEL", key];
  }
}

function streamEntry([id, fields]: [string, string[]], translate: Translate): string[] {
  return [translate(id), ...fields.map(translate)];
}

/** Keys and values alike: BullMQ's children hold their parents' keys, and names of keys hold times. */
function translator(
  { namespace, folder, providers, cacheQuestions, recordedAtMs }: Manifest,
  site: TestSite,
): Translate {
  const changes = new Map([
    [`{gluellm:${namespace}}`, `{gluellm:${site.namespace}}`],
    [folder, site.folder],
  ]);
  for (const { dialect, baseUrl, keyVariable, fingerprint } of Object.values(providers)) {
    const ownUrl = `${site.simulator.url}${new URL(baseUrl).pathname.replace(/\/$/, "")}`;
    // As version 0.1.0 makes it: a job whose worker makes another one of the same entry would wait for ever.
    const identity = JSON.stringify([dialect, ownUrl, keyVariable]);
    changes.set(fingerprint, sha256(identity).slice(0, 16));
    changes.set(baseUrl, ownUrl);
  }
  for (const question of cacheQuestions) changes.set(sha256(question), sha256(replaceAll(question, changes)));
  // Whole seconds, since some keys are named by theirs.
  const shiftMs = Math.floor((Date.now() - recordedAtMs) / 1000) * 1000;
  return (text) => shiftTimes(replaceAll(text, changes), recordedAtMs, shiftMs);
}

function replaceAll(text: string, changes: ReadonlyMap<string, string>): string {
  let changed = text;
  for (const [from, to] of changes) changed = changed.replaceAll(from, to);
  return changed;
}

/** Milliseconds, seconds, and BullMQ's scores of delayed jobs: milliseconds × 4096 and a counter. */
const UNITS = new Map([
  [10, 1 / 1000],
  [13, 1],
  [16, 4096],
]);

/**
 * A number of the right length, alone and near the recording, is a time. Times are recognised instead of listed by key and
 * field because they are everywhere (jobs, their JSON, scores, ids of stream entries, names of keys and fields), and a list
 * that misses one would make a test that passes only for as long as its deadline. Nothing else of a fixture looks like
 * one: ids are hexadecimal or longer, durations and counts are shorter or far from the present.
 */
function shiftTimes(text: string, recordedAtMs: number, shiftMs: number): string {
  return text.replace(/(?<![\w.])\d{10}(?:\d{3}){0,2}(?!\w)/g, (digits) => {
    const unit = UNITS.get(digits.length) ?? 1;
    const isNear = Math.abs(Number(digits) / unit - recordedAtMs) < NEAR_MS;
    return isNear ? String(Number(digits) + shiftMs * unit) : digits;
  });
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
