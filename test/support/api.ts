import { onTestFinished } from "vitest";
import type { ApiOptions } from "../../src/api/api-options.ts";
import { type Api, startApi } from "../../src/api/server.ts";
import { createLogger } from "../../src/shared/logger.ts";
import type { Scope } from "../../src/shared/scopes.ts";
import { loadSettings, type Settings, withSettings } from "../../src/shared/settings.ts";
import { type NewApiKey, saveApiKey } from "../../src/store/api-key.ts";
import type { ConnectedStore } from "../../src/store/connected-store.ts";
import { testNamespace, testStore } from "./redis.ts";
import { temporaryFolder } from "./redis-folders.ts";

export interface TestApi extends Api {
  store: ConnectedStore;
  settings: Settings;
}

/** An API in this process, on a free port and without workers; closed with the test. */
export async function openApi(
  changes: Partial<Settings> = {},
  options: Partial<ApiOptions> = {},
): Promise<TestApi> {
  const settings = withSettings(loadSettings({ env: {}, cwd: temporaryFolder() }), {
    namespace: testNamespace(),
    ...changes,
  });
  const store = testStore(settings.namespace);
  const logger = createLogger({ level: "silent", json: true });
  const api = await startApi({ settings, store, logger, port: 0, ...options });
  onTestFinished(() => api.close());
  return { ...api, store, settings };
}

/** A new key. Returns its id, its token, and the header that shows it. */
export async function makeKey(store: ConnectedStore, fields: Partial<NewApiKey> = {}) {
  const scopes: Scope[] = ["complete", "batch", "workflow", "read"];
  const { id, token } = await saveApiKey(store, { name: "test", tenant: "default", scopes, ...fields });
  return { id, token, headers: { authorization: `Bearer ${token}` } };
}
