import { ROLES, type Role, type Scope } from "./scopes.ts";
import { DEFAULT_TENANT } from "./tenant.ts";

/** Who calls: a key, or somebody who needs none. */
export interface Principal {
  /** The key's id; undefined without keys. */
  keyId: string | undefined;
  /** Who came by single sign-on: the user's name. */
  user?: string | undefined;
  /** What shows who it is, where that is no key: `link`, `password`. */
  by?: string | undefined;
  tenant: string;
  scopes: readonly Scope[];
  /** Whether what its calls cost has a limit. */
  hasCostLimit: boolean;
}

/** Whoever may do everything without a key: who is on this machine, or has the dashboard's link or password. */
export const OWNER: Principal = {
  keyId: undefined,
  tenant: DEFAULT_TENANT,
  scopes: ROLES.admin,
  hasCostLimit: false,
};

/** What a caller has shown, before Redis is asked whether it counts: a key's id and the SHA-256 of its token. */
export interface ShownKey {
  keyId: string;
  digest: string;
}

/** Whose request it is, as a server beside the API has found out: a key that has to be admitted, or somebody without one. */
export type KnownCaller = ShownKey | Principal;

/** Returns the highest role whose scopes somebody has; undefined when there is none. */
export function roleOf({ scopes }: Pick<Principal, "scopes">): Role | undefined {
  const roles = Object.keys(ROLES).reverse() as Role[];
  return roles.find(
    (role) => scopes.includes("admin") || ROLES[role].every((scope) => scopes.includes(scope)),
  );
}
