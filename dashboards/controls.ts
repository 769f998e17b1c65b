import type { BeforeHook } from "@bull-board/api/typings/app";

/**
 * What the board may do: everything else that it has a control for would lose accepted work, or nothing would come of it.
 * The rest of a route after `/api/queues`.
 */
export const ALLOWED: ReadonlySet<string> = new Set([
  "/:queueName/:jobId/retry",
  "/:queueName/retry/:queueStatus",
  "/:queueName/:jobId/promote",
  "/:queueName/promote",
  "/:queueName/pause",
  "/:queueName/resume",
  "/pause",
  "/resume",
  "/:queueName/rate-limit/release",
]);

/** What to do instead, by the end of a route. */
const INSTEAD: readonly (readonly [end: string, text: string])[] = [
  ["/add", "The board shows shortened data, so it cannot write jobs; enqueue with gluellm."],
  ["/update-data", "The board shows shortened data, so it cannot write jobs; enqueue with gluellm."],
  [
    "/concurrency",
    "It would hold up all workers for good; set GLUELLM_WORKER_CONCURRENCY or GLUELLM_LIMITS.",
  ],
  ["/rate-limit", "Nothing keeps to such a limit; set GLUELLM_LIMITS."],
  [
    "/empty",
    "It would lose the jobs that wait: pause the queue, or cancel them by their batch, run or handle.",
  ],
  ["/obliterate", "It would lose the jobs that wait or run; see gluellm queues remove NAME --force."],
  ["/clean", "Who waits for the job would never hear of it; cancel it. Ended jobs go by their age."],
  ["/clean/:queueStatus", "Who waits for the jobs would never hear of them; ended ones go by their age."],
];

/** Refuses, with what to do instead, all that the board may not do. */
export const refuseHarm: BeforeHook = ({ method, route }) => {
  if (method === "get" || ALLOWED.has(route.replace(/^\/api\/queues/, ""))) return { allow: true };
  const instead = INSTEAD.find(([end]) => route.endsWith(end))?.[1] ?? "It could lose work.";
  return {
    allow: false,
    status: route.endsWith("/add") || route.endsWith("/update-data") ? 405 : 403,
    errorKey: "ERRORS.FORBIDDEN",
    message: `The board does not do this. ${instead}`,
  };
};

/** Icons of the controls that would be refused. Of a queue: add, concurrency, rate limit, obliterate, empty. */
const QUEUE_ICONS = ["plus", "chart-no-axes-gantt", "gauge", "ban", "trash-2"];
/** Of jobs: clean, duplicate, edit, another time, another priority, without its children. */
const JOB_ICONS = ["trash-2", "files", "pencil", "clock", "arrow-up-down", "unlink"];

const hidden = [
  ...QUEUE_ICONS.map((icon) => `[role="menuitem"]:has(.lucide-${icon})`),
  ...JOB_ICONS.map((icon) => `button:has(.lucide-${icon})`),
];

/** For the page's head. */
export const HIDE_CONTROLS = `<style>${hidden.join(",")}{display:none!important}</style>`;
