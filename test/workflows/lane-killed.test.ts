import { expect, test } from "vitest";
import { GlueLLM } from "../../src/index.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { readCalls } from "../../src/store/lane-call.ts";
import { ARROWS, by, deadlyWay } from "../support/lane-deaths.ts";
import { laneSite } from "../support/lane-site.ts";
import { sampleOf, seededRandom } from "../support/sample.ts";
import { CLAUDE_MODEL, MODEL, SHORT_LOCKS } from "../support/site.ts";

/*
 * The worker process that buys the calls of jobs is killed at each arrow: another one goes on, each job has its answer, no call is paid
 * twice. `npm run test:full` takes some seeds of each arrow.
 */

const SEEDS = 4;
const JOBS = 6;
const cases = ARROWS.flatMap((arrow) =>
  Array.from({ length: SEEDS }, (_, seed) => ({ arrow, name: arrow.name, seed })),
);

test.each(sampleOf("deaths of lanes of calls", cases, 1))(
  "killed when $name, seed $seed",
  async ({ arrow: { points, isLate = false }, name, seed }) => {
    const random = seededRandom(`calls ${name} ${seed}`);
    const pick = <T>(all: readonly T[]): T => all[Math.floor(random() * all.length)] as T;
    const [model, point] = [pick([MODEL, CLAUDE_MODEL]), pick(points)];
    const { site, store } = await laneSite({ durationMs: isLate ? 1e9 : 500_000 }, SHORT_LOCKS);
    await using _ = site;
    const holder: { kill: () => void } = { kill: () => {} };
    const way = await deadlyWay(site.simulator.url, point, () => holder.kill(), random);
    // Jobs are for workers whose entry is the same: all go by this way.
    const env = by(site, way);
    const settings = loadSettings({ env: { ...site.env, ...env }, cwd: "/" });
    await using client = new GlueLLM({ mode: "fleet", model, settings });
    const first = site.startWith(env, "worker");
    holder.kill = () => first.child.kill("SIGKILL");
    const ask = (_: unknown, n: number) =>
      client.enqueue(`question ${n}`, { lane: "batch", by: isLate ? "8s" : "2h" });
    const jobs = await Promise.all(Array.from({ length: JOBS }, ask));
    const results = Promise.all(jobs.map((job) => job.result()));
    results.catch(() => {});
    // A death while an answer is on its way may be too late to be one.
    if (point.when === "sent") await Promise.race([first.exit, results]);
    else expect(await first.exit).toBe("SIGKILL");
    // The rest of the providers' time passes.
    site.simulator.setBatches({ durationMs: 1000 });
    site.startWith(env, "worker");
    expect((await results).map(({ finishReason }) => finishReason)).toEqual(Array(JOBS).fill("stop"));
    expect([...site.paidCalls().values()], JSON.stringify({ model, point: String(point.call) })).toEqual(
      Array(JOBS).fill(1),
    );
    const entry = model.split(":")[0] ?? "";
    const { calls, rows } = await readCalls(store, entry);
    expect([calls.size, rows.size]).toEqual([0, 0]);
  },
);
