import { signal } from "@preact/signals";

export type Scope = "complete" | "batch" | "workflow" | "read" | "content" | "operate" | "admin";

/** Whose session it is; undefined until the server has told. */
export interface Session {
  keyId: string | null;
  /** Of single sign-on. */
  user: string | null;
  by: string;
  role: string | null;
  tenant: string;
  scopes: readonly Scope[];
  /** What requests that change something bring along; null where nothing has to. */
  csrfToken: string | null;
}

export const session = signal<Session | undefined>(undefined);

/** Whether the session sees lists of other tenants. */
export function seesTenants(): boolean {
  return session.value?.tenant === "default" && may("operate");
}

/** Whether the session allows what needs the scope; the server checks it again. */
export function may(scope: Scope): boolean {
  const scopes = session.value?.scopes ?? [];
  return scopes.includes(scope) || scopes.includes("admin");
}
