import { randomUUID } from "node:crypto";
import { existsSync, linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { newToken, readToken } from "../shared/api-token.ts";
import { ConfigurationError } from "../shared/errors.ts";
import type { Settings } from "../shared/settings.ts";
import { DEFAULT_TENANT } from "../shared/tenant.ts";
import { readApiKey, saveApiKey } from "../store/api-key.ts";
import type { Store } from "../store/store.ts";

/** A key that the owner of a data folder has. */
export interface LocalKey {
  /** The file that holds it, readable by its owner only. */
  path: string;
  /** Undefined when somebody revoked it: then nobody gets in with it, until the file is removed. */
  token: string | undefined;
}

/**
 * Returns the key of the data folder, made by whoever is first; Redis is told of it where it does not know it. It may do
 * everything, since who reads the folder may reach Redis itself.
 * @throws ConfigurationError when the file holds no key
 */
export async function localKey(store: Store, { dataDir, namespace }: Settings): Promise<LocalKey> {
  const path = join(dataDir, namespace === "default" ? "api-key" : `api-key.${namespace}`);
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  if (!existsSync(path)) writeOnce(path, `${newToken()}\n`);
  const token = readFileSync(path, "utf8").trim();
  const read = readToken(token);
  if (!read) {
    const hint = `remove ${path}, and the next start makes a new one`;
    throw new ConfigurationError(`${path} holds no key`, hint, "local_key");
  }
  const key = await readApiKey(store, read.keyId);
  if (key?.revokedAt !== undefined) return { path, token: undefined };
  if (!key) await saveApiKey(store, { name: "local", tenant: DEFAULT_TENANT, scopes: ["admin"], token });
  return { path, token };
}

/** Whoever is first, others see the file whole or not at all. */
function writeOnce(path: string, text: string): void {
  const temporary = `${path}.${randomUUID()}`;
  try {
    writeFileSync(temporary, text, { mode: 0o600, flag: "wx", flush: true });
    linkSync(temporary, path);
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    // A file system without links: of two that are first, the last one's stays.
    if (["EPERM", "ENOTSUP", "ENOSYS"].includes(code)) renameSync(temporary, path);
    else if (code !== "EEXIST") throw error;
  } finally {
    rmSync(temporary, { force: true });
  }
}
