import { createBullBoard } from "@bull-board/api";
import type { AppViewRoute, BeforeHook, ControllerHandlerReturnType } from "@bull-board/api/typings/app";
import { ExpressAdapter } from "@bull-board/express";
import { Queue } from "bullmq";
import type { Router } from "express";
import type { Logger } from "../src/shared/logger.ts";
import { registeredQueues } from "../src/store/queue-registry.ts";
import type { Store } from "../src/store/store.ts";
import { QueueAdapter } from "./queue-adapter.ts";

const FOLLOW_INTERVAL_MS = 1000;
const SYSTEM_FONTS = {
  "font-sans": "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif",
  "font-mono": "ui-monospace, SFMono-Regular, Menlo, Consolas, 'Liberation Mono', monospace",
};

export interface Board {
  router: Router;
  close(): void;
}

interface BoardOptions {
  basePath: string;
  store: Store;
  namespace: string;
  logger: Logger;
}

/** Bull Board over the namespace's registered queues, which it follows once a second. */
export function createBoard({ basePath, store, namespace, logger }: BoardOptions): Board {
  const serverAdapter = new BoardAdapter().setBasePath(basePath);
  const { addQueue, removeQueue } = createBullBoard({
    queues: [],
    serverAdapter,
    options: {
      handlerHooks: { before: refuseShortenedData },
      uiConfig: {
        boardTitle: "GlueLLM",
        environment: { label: `namespace ${namespace}`, color: "#33517e", textColor: "#ffffff" },
        theme: { light: SYSTEM_FONTS, dark: SYSTEM_FONTS },
        hideDocsLink: true,
        sortQueues: true,
        // Costs a CLIENT LIST per queue and poll.
        showWorkers: false,
      },
    },
  });

  const shown = new Map<string, { queue: Queue; adapter: QueueAdapter }>();
  async function follow(): Promise<void> {
    const registered = new Set(await registeredQueues(store));
    for (const name of registered) {
      if (shown.has(name)) continue;
      // The producers own a queue's meta data: written from here it would reset their event stream's length.
      const queue = new Queue(name, {
        connection: store.redis,
        prefix: store.keys.prefix,
        skipMetasUpdate: true,
      });
      // The shared connection logs its own faults, once for all queues.
      queue.on("error", () => {});
      const adapter = new QueueAdapter(queue, store);
      shown.set(name, { queue, adapter });
      addQueue(adapter);
    }
    for (const [name, { queue, adapter }] of shown) {
      if (registered.has(name)) continue;
      removeQueue(adapter);
      shown.delete(name);
      await queue.close();
    }
  }

  let timer: NodeJS.Timeout | undefined;
  let closed = false;
  async function keepFollowing(): Promise<void> {
    try {
      await follow();
    } catch (error) {
      logger.debug({ fault: (error as Error).message }, "cannot read the list of queues");
    }
    if (!closed) timer = setTimeout(() => void keepFollowing(), FOLLOW_INTERVAL_MS);
  }
  void keepFollowing();

  return {
    router: serverAdapter.getRouter(),
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };
}

/** What the board shows is shortened: saved back, or copied into a new job, it would lose the rest. */
const refuseShortenedData: BeforeHook = ({ route }) => {
  if (!route.endsWith("/update-data") && !route.endsWith("/add")) return { allow: true };
  return {
    allow: false,
    status: 405,
    errorKey: "ERRORS.JOB_EDIT_NOT_SUPPORTED",
    message: "The board shows shortened data, so it cannot write jobs; enqueue with gluellm instead.",
  };
};

class BoardAdapter extends ExpressAdapter {
  /** Leaves out Bull Board's stacks in development, and ioredis's advice on options no visitor can set. */
  override setErrorHandler(handler: (error: Error) => ControllerHandlerReturnType): this {
    return super.setErrorHandler((error) => {
      const { status, body } = handler(error);
      const message = error.name === "MaxRetriesPerRequestError" ? "Redis does not answer." : error.message;
      return { status, body: { ...(body as object), message, details: undefined } };
    });
  }

  /** Leaves out the link to web fonts, which an offline machine would wait for. */
  override setEntryRoute({ method, route, handler }: AppViewRoute): this {
    this.app[method](route, (_request, response, next) => {
      const { name, params } = handler({ basePath: this.basePath, uiConfig: this.uiConfig });
      response.render(name, params, (error, html) => {
        if (error) next(error);
        else response.send(html.replace(/<link [^>]*fonts\.googleapis\.com[^>]*>/, ""));
      });
    });
    return this;
  }
}
