import { pathToFileURL } from "node:url";
import type { EncryptionSettings } from "../shared/encryption-setting.ts";
import { ConfigurationError } from "../shared/errors.ts";
import { type KeyRing, type KeyWrapper, keyRingOf } from "../store/key-ring.ts";

/**
 * Returns what this process encrypts and decrypts with; undefined when encryption is off.
 * @throws ConfigurationError when the module cannot be loaded, or lacks `wrap` or `unwrap`
 */
export async function openKeyRing(settings: EncryptionSettings): Promise<KeyRing | undefined> {
  return keyRingOf(settings, settings.module === undefined ? undefined : await loadKms(settings.module));
}

/** A module exports `wrap(key, about)`, `unwrap(text, about)`, and `id` where it is not `kms`. */
async function loadKms(path: string): Promise<KeyWrapper> {
  let exported: Partial<KeyWrapper>;
  try {
    exported = (await import(pathToFileURL(path).href)) as Partial<KeyWrapper>;
  } catch (error) {
    const { name } = error as Error;
    throw moduleFault(`${path} cannot be loaded: ${name}`);
  }
  const { id = "kms", wrap, unwrap } = exported;
  if (typeof wrap !== "function" || typeof unwrap !== "function" || typeof id !== "string")
    throw moduleFault(`${path} does not export the functions wrap and unwrap`);
  return { id, wrap, unwrap };
}

function moduleFault(message: string): ConfigurationError {
  return new ConfigurationError(
    `GLUELLM_ENCRYPTION_MODULE: ${message}`,
    "export wrap(key, about) → text and unwrap(text, about) → key, as docs/encryption.md shows",
    "encryption_module",
  );
}
