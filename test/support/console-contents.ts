import { z } from "zod";
import { defineWorkflow } from "../../src/index.ts";
import type { BatchRecord } from "../../src/shared/records.ts";

/** A text that a page must show and never run. */
export const SCRIPT = "<script>alert(1)</script>";

/** Many steps, some of which fail. */
export const many = defineWorkflow({
  name: "many",
  input: z.object({ steps: z.number(), waits: z.boolean().default(false) }),
  output: z.unknown(),
  run: async (ctx, { steps, waits }) => {
    for (let from = 0; from < steps; from += 50) {
      const work = Array.from({ length: 50 }, (_, n) =>
        ctx
          .run(`step ${from + n}`, () => {
            if ((from + n) % 2500 === 77) throw new Error(SCRIPT);
          })
          .catch(() => {}),
      );
      await Promise.all(work);
    }
    if (waits) await ctx.waitFor("end");
    return steps;
  },
});

/** A batch of so many rows, half of which are answered. */
export function batchOf(id: string, total: number): Partial<BatchRecord> & { id: string } {
  const failures = JSON.stringify([
    { code: "invalid_request", message: SCRIPT, rows: 3, customIds: ["row-1"] },
  ]);
  return {
    ...{ id, total, failures, status: "in_progress", input: "in.jsonl", output: "out.jsonl" },
    ...{
      succeeded: total / 2,
      failed: 3,
      inFlight: 10,
      rowsPerSecond: 12,
      costUsd: 1.5,
      createdAt: Date.now(),
    },
  };
}
