import { loadSettings, type Settings } from "./settings.ts";

let current: Settings | undefined;
let reloads = 0;

/**
 * Returns the settings of this process, read from the environment and `.env` at the first call and frozen. Clients read them anew
 * when they are made.
 * @throws ConfigurationError listing every setting that is wrong
 */
export function getSettings(): Settings {
  current ??= loadSettings();
  return current;
}

/**
 * Reads the settings anew and returns them: `settings` and `getSettings()` show them from then on. When they are wrong, those
 * before stay. Clients that exist keep theirs; `complete`, `enqueue`, `stream` and `structuredComplete` take the new ones.
 * @throws ConfigurationError listing every setting that is wrong
 */
export function reloadSettings(): Settings {
  current = loadSettings();
  reloads += 1;
  return current;
}

/** Returns how often they were read anew. */
export function settingsReloads(): number {
  return reloads;
}

/** The settings of this process, as `getSettings()` returns them, read when a field is first asked for. */
export const settings: Settings = new Proxy({} as Settings, {
  get: (_, key) => Reflect.get(getSettings(), key),
  has: (_, key) => Reflect.has(getSettings(), key),
  ownKeys: () => Reflect.ownKeys(getSettings()),
  // A proxy may show no field as unchangeable that its target lacks.
  getOwnPropertyDescriptor: (_, key) => {
    const descriptor = Reflect.getOwnPropertyDescriptor(getSettings(), key);
    return descriptor && { ...descriptor, configurable: true };
  },
  set: () => false,
  deleteProperty: () => false,
  defineProperty: () => false,
});
