import { createServer, request as send } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { onTestFinished } from "vitest";
import type { TestSite } from "./site.ts";

/* The arrows of the ladder by which provider batches are bought, at which a process can be killed. */

/** Where the process dies: at a request of its provider, before it arrives there or when its answer is on the way. */
export interface Point {
  call: RegExp;
  when: "before" | "after" | "sent";
}
export interface Arrow {
  name: string;
  points: readonly Point[];
  /** The batch is never done: its rows go another way. */
  isLate?: boolean;
}

const MAKE = /^POST \/v1\/(messages\/)?batches$/;
const FIRST = /^(POST \/v1\/files|GET \/v1\/messages\/batches)$/;
const LOOK = /^GET \/v1\/(messages\/)?batches\/\w+$/;
const READ = /\/(content|results)$/;
const CANCEL = /\/cancel$/;
const SINGLE = /^POST \/v1\/(chat\/completions|messages)$/;

const at = (call: RegExp, ...whens: Point["when"][]): Point[] => whens.map((when) => ({ call, when }));

export const ARROWS: readonly Arrow[] = [
  { name: "it has taken the rows", points: at(FIRST, "before") },
  { name: "the rows are uploaded", points: at(FIRST, "after", "sent") },
  { name: "it asks for the batch", points: at(MAKE, "before") },
  { name: "the batch is made", points: at(MAKE, "after", "sent") },
  { name: "it waits", points: at(LOOK, "before", "after", "sent") },
  { name: "it reads results", points: at(READ, "before") },
  { name: "it takes results in", points: at(READ, "after", "sent") },
  { name: "it cancels", points: at(CANCEL, "before", "after", "sent"), isLate: true },
  // Before: a call that is under way at a kill may be paid, as ever.
  { name: "rows go another way", points: at(SINGLE, "before"), isLate: true },
];

/** So long after a kill nothing arrives. */
const DYING_MS = 500;

/** A way to the simulator on which the first call that fits ends the process. */
export async function deadlyWay(
  target: string,
  { call, when }: Point,
  kill: () => void,
  random: () => number,
) {
  let isSpent = false;
  let killedAt = Number.NEGATIVE_INFINITY;
  const server = createServer((asked, answer) => {
    const isIt = !isSpent && call.test(`${asked.method} ${asked.url?.split("?", 1)[0]}`);
    if (isIt) {
      isSpent = true;
      killedAt = performance.now();
      if (when === "before") kill();
    }
    // What a dead process asked for at the same time arrives nowhere either.
    if (when === "before" && performance.now() - killedAt < DYING_MS) {
      asked.socket.destroy();
      return;
    }
    const url = new URL(asked.url ?? "/", target);
    const headers = { ...asked.headers, host: url.host };
    const onward = send(url, { method: asked.method, headers }, (reply) => {
      if (isIt && when === "after") {
        kill();
        asked.socket.destroy();
        return;
      }
      answer.writeHead(reply.statusCode ?? 500, reply.headers);
      reply.pipe(answer);
      if (isIt) void delay(random() * 40).then(kill);
    });
    onward.on("error", () => answer.destroy());
    asked.pipe(onward);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close().closeAllConnections());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** The environment in which both dialects of the simulator are reached by another way. */
export const by = (site: TestSite, way: string) => ({
  SIMULATOR_BASE_URL: `${way}/v1`,
  GLUELLM_PROVIDERS: site.env.GLUELLM_PROVIDERS?.replaceAll(site.simulator.url, way) ?? "",
});
