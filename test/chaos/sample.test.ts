import { expect, inject, test } from "vitest";
import { liveRound } from "./round.ts";

/* The smallest round; `campaign.chaos.ts` has the whole ones. */
test.runIf(!inject("isFull"))(
  "workers and a batch command under blows: nothing is lost, wrong, or paid again",
  async () => {
    const work = { rows: 20, cheapRows: 0, servedRows: 0, toolJobs: 2, runs: 1, everyMs: 0 };
    const found = await liveRound({ seed: inject("seed"), deaths: 2, work, workers: ["module"] });
    expect(found).toMatchObject({ lost: [], wrong: [], paidAgain: [] });
  },
);
