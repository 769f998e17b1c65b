import { takeCoverage } from "node:v8";
import { afterAll } from "vitest";
import { endProcesses } from "./processes.ts";

// The runner ends its processes without their writing it.
if (process.env.NODE_V8_COVERAGE) afterAll(() => takeCoverage());

// The first hook of every test file but that, and so the last to run.
afterAll(endProcesses);
