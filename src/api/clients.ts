import { LRUCache } from "lru-cache";
import { Connection } from "../client/connection.ts";
import { GlueLLM } from "../client/glue-llm.ts";
import { emptyCode } from "../shared/agent.ts";
import type { Principal } from "../shared/principal.ts";
import type { ApiOptions } from "./api-options.ts";

const MAX_CLIENTS = 1000;

/** The clients of an API process, one for each key in use, over the process's one connection. */
export interface Clients extends AsyncDisposable {
  of(principal: Principal): GlueLLM;
}

/** Returns the clients: what they make belongs to the key's tenant. */
export function clientsOf({ settings, logger, store, keyNeeded = false, workflows }: ApiOptions): Clients {
  const connection = new Connection({
    settings,
    logger,
    store,
    runsWorker: false,
    code: emptyCode(),
  });
  const clients = new LRUCache<string, GlueLLM>({ max: MAX_CLIENTS });
  return {
    of: (principal) => {
      const { tenant, keyId: by, hasCostLimit } = principal;
      const name = `${tenant} ${by ?? ""} ${hasCostLimit}`;
      const known = clients.get(name);
      if (known) return known;
      const made = new GlueLLM(
        { settings, logger, mode: "fleet", tenant, workflows },
        { connection, keyNeeded, by, hasCostLimit },
      );
      clients.set(name, made);
      return made;
    },
    [Symbol.asyncDispose]: () => connection.close(),
  };
}
