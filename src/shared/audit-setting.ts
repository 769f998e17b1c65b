import { z } from "zod";
import { Secret } from "./secret.ts";
import { integer } from "./setting-types.ts";

export interface AuditSettings {
  /** The keys of the chain's HMACs: the first one writes, all check. Empty: this process takes no entries to SQL. */
  keys: readonly Secret[];
  /** So many entries may wait in Redis for SQL; then what changes something is refused. */
  maxWaiting: number;
}

const MIN_KEY_CHARS = 32;

/** The variables of the audit. */
export const auditVariables = {
  AUDIT_KEY: z
    .string()
    .transform((text) => text.split(",").map((key) => key.trim()))
    .refine((keys) => keys.every((key) => key.length >= MIN_KEY_CHARS), {
      message: `each key must have at least ${MIN_KEY_CHARS} characters: openssl rand -base64 32`,
    })
    .optional(),
  AUDIT_MAX_WAITING: integer(10, 10_000_000).default(100_000),
};

export function auditSettings(values: {
  AUDIT_KEY?: string[] | undefined;
  AUDIT_MAX_WAITING: number;
}): AuditSettings {
  return {
    keys: (values.AUDIT_KEY ?? []).map((key) => new Secret(key)),
    maxWaiting: values.AUDIT_MAX_WAITING,
  };
}

/** Returns what is wrong with the audit beside other settings: it has no place without the history. */
export function auditFaults(values: {
  AUDIT_KEY?: string[] | undefined;
  HISTORY?: boolean | undefined;
  REDIS_URL?: string | undefined;
  DATABASE_URL?: string | undefined;
}): string[] {
  const hasHistory = values.HISTORY ?? (values.REDIS_URL === undefined || values.DATABASE_URL !== undefined);
  if (values.AUDIT_KEY === undefined || hasHistory) return [];
  return [
    "GLUELLM_AUDIT_KEY: the audit is kept in the history's database; set GLUELLM_DATABASE_URL or GLUELLM_HISTORY",
  ];
}
