import { appendFileSync } from "node:fs";
import { z } from "zod";
import { defineTool } from "../../src/index.ts";

/** Each run of a tool leaves a line in this file, which the test reads. */
function leaveTrace(line: string): void {
  const { TRACE_FILE } = process.env;
  if (TRACE_FILE) appendFileSync(TRACE_FILE, `${line}\n`);
}

export const add = defineTool({
  name: "add",
  description: "Adds two numbers.",
  parameters: z.object({ a: z.number(), b: z.number().default(1) }),
  execute: ({ a, b }, { executionId }) => {
    leaveTrace(`add ${a} ${b} ${executionId}`);
    return a + b;
  },
});

/** Takes effect, then loses its worker the first time. */
export const charge = defineTool({
  name: "charge",
  description: "Charges a customer.",
  parameters: z.object({ customer: z.string() }),
  idempotent: false,
  execute: ({ customer }) => {
    leaveTrace(`charge ${customer}`);
    if (process.env.KILLED_BY_CHARGE) process.kill(process.pid, "SIGKILL");
    return { charged: customer };
  },
});

export const others = [
  defineTool({
    name: "fail",
    description: "Always fails.",
    parameters: z.object({}),
    execute: () => {
      throw new RangeError("the shelf is empty");
    },
  }),
  defineTool({
    name: "hang",
    description: "Never ends by itself.",
    parameters: z.object({}),
    timeoutMs: 100,
    execute: () => new Promise(() => {}),
  }),
  defineTool({
    name: "shout",
    description: "Says a lot.",
    parameters: {
      type: "object",
      properties: { times: { type: "integer", minimum: 1 } },
      required: ["times"],
    },
    maxOutputBytes: 20,
    execute: ({ times }) => `\u0007${"é!".repeat(Number(times))}`,
  }),
];
