import { join } from "node:path";
import { defineConfig } from "vitest/config";

/** Set by `npm run test:full` and `npm run test:chaos`: everything that is long, and no samples. */
const isFull = process.env.GLUELLM_TEST_FULL === "1";
/** Set by `npm run test:encrypted`: all of the files that keep contents run with encryption on. */
const isEncrypted = process.env.GLUELLM_TEST_ENCRYPTION === "1";
/** Draws the samples of what is long, and the moments of kills; a run prints it. */
const seed = Number(process.env.GLUELLM_TEST_SEED ?? Math.floor(Math.random() * 1e6));

/** Files that need neither Redis nor processes; a file that is not listed may need both. */
const UNIT = [
  "test/{calls,producers,shared,simulator}/**/*.test.ts",
  "test/docs/!(run-blocks|troubleshooting).test.ts",
  "test/providers/{anthropic,conformance,estimates,faults,limit-headers,multimodal,stream}.test.ts",
  "test/batch/{answer-forms,line-forms,output-links,files-{digits,earlier,forms,large,malformed,output,scan}}.test.ts",
  "test/limits/{concurrency-controller,estimate-correction,rate-limiter-settings}.test.ts",
  "test/workers/{output-conformance,output-read,output-subset,verdict}.test.ts",
  "test/providers/odd-{answers,calls,faults,messages,usage}.test.ts",
  "test/{batch/lane-plan,history/job-rows,rollouts/advantages,api/messages/message-stream,cli/progress/frame,cli/{step-tree,usage},client/agents,workflows/input}.test.ts",
];

/** Files that keep contents somewhere. What looks at these in clear by intent says in itself that it is left out with encryption on. */
const STORING =
  "test/{api,batch,cli,client,history,patterns,rollouts,schedules,store,telemetry,testing,toolkit,webhooks,workers,workflows}/**/*.test.ts";
/** Small ones among them, without processes of their own, of which the gate runs a few once more with encryption on. */
const SMALL = [
  "batch",
  "blobs",
  "conversation",
  "error-counts",
  "file-record",
  "job-journal",
  "job-stream",
  "result-record",
  "run-record",
  "served-batch",
];
const SAMPLE = 2;

/** The first is drawn by the seed; 7 has no factor in common with their number, so that none comes twice. */
function drawnSmall(): string[] {
  return Array.from(
    { length: SAMPLE },
    (_, n) => `test/store/${SMALL[(seed + 7 * n) % SMALL.length]}.test.ts`,
  );
}

// As in tools/run.mjs, for a runner that was started by itself.
process.env.NODE_COMPILE_CACHE ??= join(import.meta.dirname, "node_modules", ".cache", "node-compile");

/** Of the tests with this tag the gate runs a share, drawn by the seed; where files are named, all of theirs run. */
const LONG = {
  name: "long",
  description: "takes seconds: a tenth of them runs in the gate, all in test:full",
};
const isNamed = (arg: string) => !arg.startsWith("-") && (arg.includes("test/") || arg.endsWith(".test.ts"));
const isGate = !isFull && !isEncrypted && !process.argv.slice(2).some(isNamed);

export default defineConfig({
  test: {
    tags: [LONG],
    provide: { isFull, isGate, seed, deaths: Number(process.env.GLUELLM_TEST_DEATHS ?? 0) },
    globalSetup: ["test/support/global-setup.ts"],
    setupFiles: ["test/support/end-processes.ts", "test/support/draw-long.ts"],
    // Most of them wait for something: four at a time keep two cores busy, more would starve each other.
    maxWorkers: 4,
    // Each file ends what it opened, so that one process takes many files: its modules are loaded once.
    isolate: false,
    // For the busiest machine: a test that waits for a condition ends when it holds.
    testTimeout: 600_000,
    hookTimeout: 300_000,
    expect: { poll: { timeout: 240_000, interval: 20 } },
    projects: [
      { extends: true, test: { name: "unit", include: UNIT } },
      {
        extends: true,
        test: {
          name: "integration",
          include: ["test/**/*.test.ts", ...(isFull ? ["test/**/*.chaos.ts"] : [])],
          exclude: UNIT,
        },
      },
      {
        extends: true,
        test: {
          name: "encrypted",
          env: { GLUELLM_TEST_ENCRYPTION: "1" },
          include: isFull || isEncrypted ? [STORING, "test/fixtures.test.ts"] : drawnSmall(),
          exclude: UNIT,
        },
      },
    ],
  },
});
