import type { Scope } from "../shared/scopes.ts";

/** Who calls: a key, or with `--no-auth` whoever is on this machine. */
export interface Principal {
  /** The key's id; undefined without keys. */
  keyId: string | undefined;
  tenant: string;
  scopes: readonly Scope[];
  /** Whether what its calls cost has a limit. */
  hasCostLimit: boolean;
}
