import { z } from "zod";
import { InputError } from "../shared/errors.ts";
import { parseJson } from "../shared/json.ts";
import type { Principal } from "../shared/principal.ts";
import { ROLES, type Role } from "../shared/scopes.ts";
import { userNameSchema } from "../shared/sso-setting.ts";
import { DEFAULT_TENANT, tenantSchema } from "../shared/tenant.ts";
import type { Store } from "./store.ts";

/*
 * Roles of those who come by single sign-on: the hash `:users`, a user's name → JSON of the role, whose jobs it is for, and since when.
 * Each request reads it anew, so that a role that is taken away counts no more at once. A role that is damaged is none.
 */

export const roleSchema = z.enum(Object.keys(ROLES) as [Role, ...Role[]]);
const userSchema = z.object({ role: roleSchema, tenant: tenantSchema, since: z.number() });

/** A user who has a role. */
export interface User {
  user: string;
  /** Absent: what is stored is damaged, and gives no role. */
  role?: Role;
  tenant?: string;
  /** Epoch milliseconds. */
  since?: number;
}

/** Gives a user a role in place of the one before. @throws InputError naming what is wrong */
export async function saveUser(
  { redis, keys }: Store,
  name: string,
  { role, tenant = DEFAULT_TENANT }: { role: string; tenant?: string | undefined },
): Promise<User> {
  const user = userNameSchema.safeParse(name);
  if (!user.success) throw new InputError(`the user's name ${user.error.issues[0]?.message}`);
  const given = userSchema.safeParse({ role, tenant, since: Date.now() });
  if (!given.success) {
    const [issue] = given.error.issues;
    throw new InputError(
      issue?.path[0] === "role" ? `there is no role "${role}"` : `the tenant's name ${issue?.message}`,
      issue?.path[0] === "role" ? `there are: ${Object.keys(ROLES).join(", ")}` : undefined,
    );
  }
  await redis.hset(keys.users, user.data, JSON.stringify(given.data));
  return { user: user.data, ...given.data };
}

/** Takes a user's role away; returns whether there was one. */
export async function removeUser({ redis, keys }: Store, name: string): Promise<boolean> {
  return (await redis.hdel(keys.users, name.trim().toLowerCase())) === 1;
}

/** Returns the users who have a role of their own, by name. */
export async function listUsers({ redis, keys }: Store): Promise<User[]> {
  const stored = Object.entries(await redis.hgetall(keys.users));
  return stored.sort().map(([user, text]) => ({ user, ...userSchema.safeParse(parseJson(text)).data }));
}

/**
 * Returns what a user may do.
 * @param defaultRole of those who have no role of their own
 * @returns undefined for who may do nothing, or has no name that counts
 */
export async function userPrincipal(
  { redis, keys }: Store,
  name: string,
  defaultRole: Role | undefined,
): Promise<Principal | undefined> {
  const user = userNameSchema.safeParse(name).data;
  if (user === undefined) return undefined;
  const text = await redis.hget(keys.users, user);
  const found =
    text === null
      ? { role: defaultRole, tenant: DEFAULT_TENANT }
      : userSchema.safeParse(parseJson(text)).data;
  if (!found?.role) return undefined;
  const { role, tenant } = found;
  return { keyId: undefined, user, tenant, scopes: ROLES[role], hasCostLimit: false };
}
