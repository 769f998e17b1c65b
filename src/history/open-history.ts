import { join } from "node:path";
import { ConfigurationError, GlueError } from "../shared/errors.ts";
import type { Settings } from "../shared/settings.ts";
import type { HistoryDatabase } from "./database.ts";
import { PostgresHistory } from "./postgres.ts";
import { SqliteHistory } from "./sqlite.ts";

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
    throw new ConfigurationError(
      `cannot open the history in ${url === undefined ? file : "GLUELLM_DATABASE_URL"}: ${faultOf(error)}`,
      url === undefined
        ? "make the data folder writable"
        : "see whether the server runs and lets this user in",
      "history_unavailable",
    );
  }
}

/** Returns what an engine says of a fault; a host of several addresses has a text for each. */
export function faultOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(faultOf).join("; ");
  return error instanceof Error ? error.message || error.name : String(error);
}
