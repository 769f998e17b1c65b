import { z } from "zod";
import { toolNameSchema } from "../shared/tool.ts";

/** Options of `mcpTools`, to be checked. */
export const mcpServerSchema = z
  .strictObject({
    name: toolNameSchema,
    command: z.string().min(1).optional(),
    args: z.array(z.string()).default([]),
    env: z.record(z.string(), z.string()).default({}),
    cwd: z.string().min(1).optional(),
    url: z.url({ protocol: /^https?$/ }).optional(),
    headers: z.record(z.string(), z.string()).default({}),
    allow: z.array(z.string().min(1)).optional(),
    prefix: z
      .string()
      .regex(/^[A-Za-z0-9_-]{0,32}$/, "must be up to 32 letters, digits, - or _")
      .default(""),
    timeoutMs: z.int().min(1).max(3_600_000).default(60_000),
    startTimeoutMs: z.int().min(1).max(600_000).default(30_000),
    maxOutputBytes: z
      .int()
      .min(1)
      .max(4 * 1024 * 1024)
      .default(64 * 1024),
    protocol: z.enum(["auto", "legacy", "2026-07-28"]).default("auto"),
    idempotent: z.union([z.boolean(), z.array(z.string())]).optional(),
  })
  .refine(({ command, url }) => (command === undefined) !== (url === undefined), {
    path: ["command"],
    error: "give either a command or a url",
  });
/** A server as it was described, with its defaults. */
export type McpServerSpec = z.infer<typeof mcpServerSchema>;
