import { describe, expect, test } from "vitest";
import { anyActivity, failure, one } from "../support/any-activity.ts";
import { anyWorkflow } from "../support/any-workflow.ts";
import { inParts } from "../support/killing-activities.ts";
import { SHORT_LOCKS } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

describe("heartbeats", () => {
  test("a worker that is killed: another one goes on with the details of its last heartbeat", async () => {
    const { runs, spawnWorker } = await workflowSite({}, SHORT_LOCKS);
    const workers = await Promise.all([1, 2].map(() => spawnWorker("killing-activities.ts", "workflows")));
    const run = await runs.start(inParts, { kills: true });
    const { from, attempt, pid } = (await run.result()) as Record<string, number>;
    const survivor = workers.find(({ exitCode, signalCode }) => exitCode === null && signalCode === null);
    expect({ from, attempt, pid }).toEqual({ from: 3, attempt: 2, pid: survivor?.pid });
  });

  test("a try without them is given to another worker, at most three times", { tags: "long" }, async () => {
    const { runs, work } = await workflowSite();
    const begun: string[] = [];
    const hangingIn = (worker: string, hangs: boolean) =>
      anyActivity(
        async (_input, { details, heartbeat, signal }) => {
          begun.push(worker);
          if (!hangs) return [worker, details];
          await heartbeat({ from: worker });
          return new Promise(() => signal.addEventListener("abort", () => begun.push("aborted")));
        },
        { heartbeatMs: 1500 },
      );
    await work(one());
    const first = await runs.start(one(), {});
    const hanging = await work(hangingIn("a", true));
    await waitFor("its begin", () => begun.includes("a"));
    const other = await work(hangingIn("b", false));
    expect(await first.result()).toEqual(["b", { from: "a" }]);
    expect(begun.indexOf("aborted")).toBe(1);
    await Promise.all([hanging.close(), other.close()]);
    begun.length = 0;
    await work(hangingIn("c", true));
    expect(await failure((await runs.start(one(), {})).result())).toMatchObject({
      code: "heartbeat_timeout",
    });
    expect(begun.filter((worker) => worker === "c")).toHaveLength(3);
  });

  test("details that cannot be kept fail the try", async () => {
    const { runs, work } = await workflowSite();
    const wrong = anyActivity((input: number, { heartbeat }) => {
      void heartbeat(input === 0 ? Number.NaN : "x".repeat(100_000));
    });
    const both = anyWorkflow("both", async (ctx) =>
      Promise.all([0, 1].map(async (n) => (await failure(ctx.activity("work", n))).code)),
    );
    await work(both, wrong);
    expect(await (await runs.start(both, {})).result()).toEqual(["not_serializable", "too_large"]);
  });
});
