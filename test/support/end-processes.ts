import { afterAll } from "vitest";
import { endProcesses } from "./processes.ts";

// The first hook of every test file, and so the last to run.
afterAll(endProcesses);
