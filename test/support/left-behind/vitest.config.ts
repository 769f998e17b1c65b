import { defineConfig } from "vitest/config";

/** The suite's set-up, for the one test that leaves everything behind. */
export default defineConfig({
  test: {
    include: ["test/support/left-behind/left-behind.ts"],
    globalSetup: ["test/support/global-setup.ts"],
    setupFiles: ["test/support/end-processes.ts"],
    provide: { isFull: false, seed: 1 },
    testTimeout: 600_000,
  },
});
