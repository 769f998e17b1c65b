import type { Logger } from "../shared/logger.ts";
import type { Settings } from "../shared/settings.ts";
import type { ConnectedStore } from "../store/connected-store.ts";
import type { AnyWorkflow } from "../workflows/workflow.ts";

/** What the API is started with. */
export interface ApiOptions {
  settings: Settings;
  logger: Logger;
  /** The process's connections; whoever opened them closes them, after the API. */
  store: ConnectedStore;
  /** Default: those of the settings. */
  host?: string;
  port?: number;
  /** Tried when the port is busy; default 0: a busy port is an error, since clients have the address. */
  furtherPorts?: number;
  /** Whether requests need a key; default true. False is for loopback alone. */
  isAuthRequired?: boolean;
  /** Whether this process needs the providers' keys, since its worker makes the calls; default false. */
  keyNeeded?: boolean;
  /** Those that runs can be started of, beside the built-in patterns. */
  workflows?: readonly AnyWorkflow[];
}
