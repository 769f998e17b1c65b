import { join } from "node:path";
import { ConfigurationError, GlueError } from "../shared/errors.ts";
import type { Settings } from "../shared/settings.ts";
import type { HistoryDatabase } from "./database.ts";
import { PostgresHistory } from "./postgres.ts";
import { SqliteHistory } from "./sqlite.ts";
import { MADE_BY_A_LATER_ONE } from "./sqlite-file.ts";

export type HistoryPlace = Pick<Settings, "namespace" | "dataDir" | "history">;

/**
 * Opens the history of a namespace, and makes it when there is none.
 * @throws ConfigurationError when it is switched off, or cannot be opened; the text says of what, never a password
 */
export async function openHistory({ namespace, dataDir, history }: HistoryPlace): Promise<HistoryDatabase> {
  if (!history.enabled)
    throw new ConfigurationError(
      "the history is off: by default it is on where the Redis is embedded, or GLUELLM_DATABASE_URL names a database",
      "set GLUELLM_DATABASE_URL; or GLUELLM_HISTORY=true for a file in the data folder, where all workers run on this machine",
      "history_off",
    );
  const url = history.databaseUrl?.reveal();
  const file = join(dataDir, "history", `${namespace}.sqlite`);
  try {
    return url === undefined ? await SqliteHistory.open(file) : await PostgresHistory.open(url, namespace);
  } catch (error) {
    if (error instanceof GlueError) throw error;
    const fault = faultOf(error);
    throw new ConfigurationError(
      `cannot open the history in ${url === undefined ? file : "GLUELLM_DATABASE_URL"}: ${fault}`,
      remedyOf(fault, url !== undefined),
      "history_unavailable",
    );
  }
}

function remedyOf(fault: string, hasServer: boolean): string {
  if (fault.includes(MADE_BY_A_LATER_ONE))
    return "update gluellm here to the version that the other processes have";
  return hasServer ? "see whether the server runs and lets this user in" : "make the data folder writable";
}

/** Returns what an engine says of a fault; a host of several addresses has a text for each. */
export function faultOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(faultOf).join("; ");
  return error instanceof Error ? error.message || error.name : String(error);
}
