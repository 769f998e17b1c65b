import { z } from "zod";

/** The tenant of everything that names none. */
export const DEFAULT_TENANT = "default";

/** A tenant's name: 1 to 64 letters, digits, `-`, `_` and `.`, of which a letter or digit comes first. */
export const tenantSchema = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/,
    "must be 1 to 64 letters, digits, -, _ or ., a letter or digit first",
  );

/** In whose name work is done: fields of payloads and records. */
export const ownerFields = {
  /** Absent: `default`. */
  tenant: tenantSchema.optional(),
  /** The key of the API that asked for it: what it costs counts for that key. */
  by: z.string().max(64).optional(),
} as const;
const ownerSchema = z.object(ownerFields);
export type Owner = z.infer<typeof ownerSchema>;

/** Returns an owner as it is stored: the default tenant is not written down. */
export function storedOwner({ tenant, by }: Owner): Owner {
  return {
    ...(tenant !== undefined && tenant !== DEFAULT_TENANT && { tenant }),
    ...(by !== undefined && { by }),
  };
}

/** Returns whether what is stored belongs to a tenant. */
export function isOwnedBy(tenant: string, stored: { tenant?: string | undefined }): boolean {
  return (stored.tenant ?? DEFAULT_TENANT) === tenant;
}

/** Returns a name that no other tenant has: what callers name themselves is apart. Those of `default` stay as they are. */
export function tenantName(tenant: string | undefined, name: string): string {
  return tenant === undefined || tenant === DEFAULT_TENANT ? name : `${tenant}/${name}`;
}

/** Returns the tenant of a name of `tenantName`. */
export function tenantOfName(name: string): string {
  const slash = name.indexOf("/");
  return slash < 0 ? DEFAULT_TENANT : name.slice(0, slash);
}
