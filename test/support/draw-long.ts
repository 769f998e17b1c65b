import { beforeEach, inject } from "vitest";
import { seededRandom } from "./sample.ts";

const SHARE = 1 / 4;

// Every long test has its own lot, so that each run of the gate proves another part of them.
if (inject("isGate"))
  beforeEach(({ task, skip }) => {
    const isLong = task.tags?.includes("long");
    if (isLong && seededRandom(`${task.fullName}`)() >= SHARE)
      skip("long: a quarter of these runs in the gate, all in test:full");
  });
