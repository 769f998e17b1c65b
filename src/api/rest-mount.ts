import { Router } from "express";
import { HistoryReader } from "../history/reader.ts";
import { Audit } from "../store/audit.ts";
import type { ApiOptions } from "./api-options.ts";
import { authorizer, type KnowCaller } from "./authorize.ts";
import { clientsOf } from "./clients.ts";
import type { ApiContext } from "./context.ts";
import { answerNotFound, mountGroup } from "./mount.ts";
import { nameRequest, OpenRequests } from "./requests.ts";
import { ROUTE_GROUPS } from "./route-groups.ts";

const BASE_PATH = "/api";

export interface RestMount {
  router: Router;
  /** Ends the requests under way. */
  close(): Promise<void>;
}

/**
 * Returns the REST routes for another server of this process, which checks Host and Origin itself and may know its callers
 * by something else than a key. What a group does beside its requests is left to the API's own server.
 */
export function mountRest(
  options: Omit<ApiOptions, "host" | "port" | "furtherPorts" | "isAuthRequired">,
  knownCaller: KnowCaller,
): RestMount {
  const { settings, logger, store } = options;
  const requests = new OpenRequests();
  const clients = clientsOf(options);
  const history = new HistoryReader(settings);
  const { draining } = requests;
  const audit = new Audit(store);
  const context: ApiContext = { settings, logger, store, history, audit, clientOf: clients.of, draining };
  const authorize = authorizer({ store, knownCaller });
  const router = Router({ caseSensitive: true });
  const rest = Router({ caseSensitive: true }).use(nameRequest, requests.take);
  for (const group of ROUTE_GROUPS) {
    if (!group.basePath.startsWith(BASE_PATH)) continue;
    rest.use(
      group.basePath.slice(BASE_PATH.length) || "/",
      mountGroup(group, { context, authorize, over: requests.over }),
    );
  }
  router.use(BASE_PATH, rest.use(answerNotFound));
  return {
    router,
    close: async () => {
      await requests.drain(0);
      await clients[Symbol.asyncDispose]();
      await history.close();
    },
  };
}
