import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/support/global-setup.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Most of them wait for something: four at a time keep two cores busy, more would starve each other.
    maxWorkers: 4,
  },
});
