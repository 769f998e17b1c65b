import { LANE_ENV } from "../support/lane-site.ts";
import { startNode } from "../support/processes.ts";
import { randomFrom } from "../support/sample.ts";
import { MODEL, SHORT_LOCKS, TestSite } from "../support/site.ts";
import { openClient } from "../support/site-client.ts";
import { mountDisk } from "../support/small-disk.ts";
import { strike } from "./blows.ts";
import { type Calls, countCalls, unseen } from "./calls.ts";
import { Fleet } from "./fleet.ts";
import { Recorded } from "./recorded.ts";
import { DISK_SIZE, StruckRedis } from "./struck-redis.ts";
import { beginWork, checkWork, type Work, type WorkSizes } from "./work.ts";

/*
 * One round of a campaign: a fleet with its own Redis has work of every kind under blows; then everything has to have come to its right
 * end, paid once.
 */

interface RoundOptions {
  /** Decides what happens. */
  seed: number;
  deaths: number;
  work: WorkSizes;
  workers: readonly WorkerRole[];
}

/** A worker of workflows and tools, or one of the command line. */
type WorkerRole = "module" | "models";

/** What a round found. All but `lost`, `wrong` and `paidAgain` only say how much there was. */
export interface RoundReport extends Calls {
  seed: number;
  /** SIGKILLs, by what they hit. */
  deaths: Record<string, number>;
  /** What else happened, by kind. */
  troubles: Record<string, number>;
  lost: string[];
  wrong: string[];
  seconds: number;
}

/** After the blows; all has ended by then on most machines. */
const LATE_MS = 180_000;

const ENV = {
  ...SHORT_LOCKS,
  ...LANE_ENV,
  GLUELLM_WORKER_CONCURRENCY: "4",
  // A call's attempts outlast the provider's absence.
  GLUELLM_RETRY_MIN_WAIT: "1",
  GLUELLM_RETRY_MAX_WAIT: "3",
  GLUELLM_CALL_TIMEOUT_MS: "10000",
  GLUELLM_DEFAULT_MODEL: MODEL,
};

/** Where workers can be killed: before a call, between its parts, with its answer, when it is in a journal, in a tick of a schedule. */
const POINTS = [
  "undici:request:create",
  "undici:request:bodySent",
  "undici:request:headers",
  "undici:request:trailers",
  "gluellm:journal",
  "gluellm:tick",
] as const;

export async function liveRound({ seed, deaths, work, workers }: RoundOptions): Promise<RoundReport> {
  const beganAt = performance.now();
  const random = randomFrom(`round ${seed}`);
  const draw = (below: number) => Math.floor(random() * below);
  await using redis = await StruckRedis.start();
  const env = { ...ENV, GLUELLM_REDIS_URL: `redis://127.0.0.1:${redis.port}` };
  await using site = await TestSite.open({ latencyMs: 300, jitterMs: 300, batchSpeed: 1000, seed }, env);
  using disk = mountDisk(site.folder, DISK_SIZE);
  await using client = openClient(site);
  await using fleet = new Fleet(draw);
  const recorded = new Recorded(site, redis.port);

  const clocks = workers.map((_, n) => site.write(`clock-${n}`, [0]));
  for (const [n, role] of workers.entries()) {
    const point = POINTS[draw(POINTS.length)] ?? POINTS[0];
    fleet.kept("worker", () => startWorker(site, role, clocks[n] ?? "", point), { point });
  }
  const works = await beginWork({ site, client, fleet, recorded }, work);
  const troubles = await strike(
    { ...{ draw, fleet, redis, disk, clocks }, simulator: site.simulator },
    deaths,
  );
  const late = setTimeout(() => void tellLate(works, fleet), LATE_MS);
  const ends = await Promise.all(works.map(checkWork));
  clearTimeout(late);
  await recorded.end();
  return {
    ...{ seed, deaths: fleet.deaths, troubles },
    ...countCalls(site.simulator, recorded, fleet),
    lost: ends.flatMap(({ lost }) => lost ?? []),
    wrong: [...ends.flatMap(({ wrong }) => wrong ?? []), ...unseen(site.simulator, recorded)],
    seconds: Math.round((performance.now() - beganAt) / 1000),
  };
}

/** For whoever looks why a round takes long. */
async function tellLate(works: readonly Work[], fleet: Fleet): Promise<void> {
  const stand = works.map(async ({ name, stands }) => [name, await stands?.().catch(String)]);
  console.log(JSON.stringify({ late: await Promise.all(stand), fleet: fleet.state() }, null, 1));
}

function startWorker(site: TestSite, role: WorkerRole, clock: string, point: string) {
  const path = (name: string) => new URL(name, import.meta.url).pathname;
  const env = {
    NODE_OPTIONS: `--import ${path("../support/shifted-clock.ts")} --import ${path("kill-point.ts")}`,
    SHIFT_FILE: clock,
    KILL_POINT: point,
  };
  return role === "models"
    ? site.startWith(env, "worker")
    : startNode([path("../support/workflow-worker.ts"), path("module.ts")], { env: { ...site.env, ...env } });
}
