import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { createBullBoard } from "@bull-board/api";
import type { AppViewRoute, ControllerHandlerReturnType } from "@bull-board/api/typings/app";
import { ExpressAdapter } from "@bull-board/express";
import { Queue } from "bullmq";
import { Router } from "express";
import type { Logger } from "../src/shared/logger.ts";
import { registeredQueues } from "../src/store/queue-registry.ts";
import type { Store } from "../src/store/store.ts";
import { callerOf } from "./caller.ts";
import { HIDE_CONTROLS, refuseHarm } from "./controls.ts";
import { QueueAdapter } from "./queue-adapter.ts";

const uiFolder = join(dirname(createRequire(import.meta.url).resolve("@bull-board/ui/package.json")), "dist");
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
      handlerHooks: { before: refuseHarm },
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
      const adapter = new QueueAdapter(queue, store, basePath);
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
    router: withOwnWords(serverAdapter.getRouter().disable("x-powered-by")),
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };
}

/**
 * Without the link to web fonts, which an offline machine would wait for, and without controls that are refused; its requests
 * bring the CSRF token along.
 */
function ownPage(html: string, csrfToken = ""): string {
  const csrf = `<meta name="csrf-token" content="${csrfToken}"><script src="${CSRF_SCRIPT_PATH.slice(1)}"></script>`;
  return html
    .replace(/<link [^>]*fonts\.googleapis\.com[^>]*>/, "")
    .replace("</head>", `${HIDE_CONTROLS}${csrf}</head>`);
}

const CSRF_SCRIPT_PATH = "/static/csrf.js";
/** The page allows no inline scripts. */
const CSRF_SCRIPT = `
const token = document.querySelector('meta[name="csrf-token"]').content;
const send = XMLHttpRequest.prototype.send;
XMLHttpRequest.prototype.send = function (body) {
  this.setRequestHeader("x-csrf-token", token);
  return send.call(this, body);
};
`;
const WORDS = "/static/locales/:language/messages.json";
const NOT_FOUND =
  "Neither the queue nor a result record has this job (any more). Jobs that ended leave their queue after GLUELLM_RETENTION_COMPLETED (1 h) or GLUELLM_RETENTION_FAILED (30 days), their records after GLUELLM_RETENTION_RESULTS (7 days).";

/** The board with our word for a job that is gone, in English. */
function withOwnWords(board: Router): Router {
  const router = Router();
  router.get(CSRF_SCRIPT_PATH, (_request, response) => void response.type("js").send(CSRF_SCRIPT));
  router.get(WORDS, (request, response, next) => {
    if (!/^en\b/.test(String(request.params.language))) return next();
    const path = join(uiFolder, "static/locales", "en-US", "messages.json");
    const words = JSON.parse(readFileSync(path, "utf8")) as Record<"JOB" | "ERRORS", object>;
    const { JOB, ERRORS } = words;
    response.json({
      ...words,
      JOB: { ...JOB, NOT_FOUND },
      ERRORS: { ...ERRORS, JOB_NOT_FOUND: "No such job (any more)" },
    });
  });
  router.use(board);
  return router;
}

class BoardAdapter extends ExpressAdapter {
  /** Leaves out Bull Board's stacks in development, and ioredis's advice on options no visitor can set. */
  override setErrorHandler(handler: (error: Error) => ControllerHandlerReturnType): this {
    return super.setErrorHandler((error) => {
      const { status, body } = handler(error);
      const message = error.name === "MaxRetriesPerRequestError" ? "Redis does not answer." : error.message;
      return { status, body: { ...(body as object), message, details: undefined } };
    });
  }

  override setEntryRoute({ method, route, handler }: AppViewRoute): this {
    this.app[method](route, (_request, response, next) => {
      const { name, params } = handler({ basePath: this.basePath, uiConfig: this.uiConfig });
      response.render(name, params, (error, html) => {
        if (error) next(error);
        else response.send(ownPage(html, callerOf(response)?.csrfToken));
      });
    });
    return this;
  }
}
