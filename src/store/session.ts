import { randomBytes } from "node:crypto";
import { z } from "zod";
import { sha256 } from "../shared/digest.ts";
import { parseJson } from "../shared/json.ts";
import type { Store } from "./store.ts";

/*
 * A browser that is logged in to the dashboard: the JSON at `:session:<sha256 of its id>`. The id itself, 256 random bits, is
 * in the browser's cookie alone.
 *
 * | from | to   | by              | who                                                                         |
 * |------|------|-----------------|-----------------------------------------------------------------------------|
 * | none | open | `openSession`   | the dashboard, for who shows a key, the password or the link's token        |
 * | open | none | `endSession`    | the dashboard: at a logout, at the next login, or once its secret counts no more |
 * | open | none | –               | when its time is over, however much it was used                             |
 *
 * A session says what was shown at its login, not what that allows: each request asks that anew, so that a key that is revoked or
 * expires ends its sessions with it, and so does another password.
 */

const sessionSchema = z.object({
  v: z.literal(1),
  by: z.enum(["key", "password", "link"]),
  /** Of a key. */
  keyId: z.string().optional(),
  /** SHA-256 of a key's token; of another secret, together with the session's id, so that nobody finds it by guessing. */
  digest: z.string(),
});

/** What a browser has shown at its login. */
export type Session = Omit<z.infer<typeof sessionSchema>, "v">;

const ID = /^[A-Za-z0-9_-]{43}$/;

export function newSessionId(): string {
  return randomBytes(32).toString("base64url");
}

/** Opens a session for `seconds`. */
export async function openSession(
  { redis, keys }: Store,
  id: string,
  session: Session,
  seconds: number,
): Promise<void> {
  await redis.set(keys.session(sha256(id)), JSON.stringify({ v: 1, ...session }), "EX", seconds);
}

/** Returns a session; undefined when there is none (any more), or nobody can read it: then its browser logs in again. */
export async function readSession({ redis, keys }: Store, id: string): Promise<Session | undefined> {
  if (!ID.test(id)) return undefined;
  const text = await redis.get(keys.session(sha256(id)));
  if (text === null) return undefined;
  return sessionSchema.safeParse(parseJson(text)).data;
}

/** Returns what CSRF tokens of those who have no session are made of: one random text for all dashboards of the namespace. */
export async function csrfSecret({ redis, keys }: Store): Promise<string> {
  const known = await redis.get(keys.csrfSecret);
  if (known !== null) return known;
  await redis.set(keys.csrfSecret, randomBytes(32).toString("hex"), "NX");
  return (await redis.get(keys.csrfSecret)) ?? "";
}

/** Ends a session; one that is over stays so. */
export async function endSession({ redis, keys }: Store, id: string): Promise<void> {
  if (ID.test(id)) await redis.del(keys.session(sha256(id)));
}
