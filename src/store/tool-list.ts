import { z } from "zod";
import { sha256 } from "../shared/digest.ts";
import type { JsonSchema } from "../shared/json-schema.ts";
import { readStored } from "../shared/stored-data.ts";
import type { ListedTool } from "../shared/tool.ts";
import type { Store } from "./store.ts";

/*
 * The tools that a set of tools had when a job asked it: JSON at `tool-list:<sha256 of the JSON>`, so that jobs which saw the same
 * tools share it. Written by the worker before the job's journal names the digest; gone two days after the life of the longest
 * journal that names it.
 */

const TTL_SECONDS = 32 * 86_400;

const listSchema: z.ZodType<ListedTool[]> = z.array(
  z.object({
    name: z.string(),
    description: z.string(),
    parameters: z.record(z.string(), z.unknown()) as z.ZodType<JsonSchema>,
    idempotent: z.boolean(),
    ownName: z.string(),
  }),
);

/** Stores the tools of a set; returns their digest. */
export async function writeToolList(store: Store, tools: readonly ListedTool[]): Promise<string> {
  const json = JSON.stringify(tools);
  const digest = sha256(json);
  await store.redis.set(store.keys.toolList(digest), json, "EX", TTL_SECONDS);
  return digest;
}

/** Returns the tools; undefined when Redis no longer has them. @throws GlueError `corrupt_data` */
export async function readToolList(store: Store, digest: string): Promise<ListedTool[] | undefined> {
  const json = await store.redis.get(store.keys.toolList(digest));
  if (json === null) return undefined;
  return readStored("the list of a job's tools", () => listSchema.parse(JSON.parse(json)));
}
