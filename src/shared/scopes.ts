import { z } from "zod";

/** What a key of the API may do. */
export const SCOPES = ["complete", "batch", "workflow", "read", "content", "operate", "admin"] as const;
export const scopeSchema = z.enum(SCOPES);
/**
 * `complete`: ask models. `batch`: files and batches. `workflow`: start and steer runs. `read`: see states and counts.
 * `content`: see prompts and answers of others. `operate`: pause, resume, cancel, retry. `admin`: keys, webhooks, everything.
 */
export type Scope = z.infer<typeof scopeSchema>;

/** Sets of scopes under one name. */
export const ROLES = {
  viewer: ["read"],
  operator: ["read", "content", "operate", "complete", "batch", "workflow"],
  admin: SCOPES,
} as const satisfies Record<string, readonly Scope[]>;

export type Role = keyof typeof ROLES;

/** Returns whether scopes allow what needs `scope`: `admin` allows everything. */
export function allows(scopes: readonly Scope[], scope: Scope): boolean {
  return scopes.includes(scope) || scopes.includes("admin");
}
