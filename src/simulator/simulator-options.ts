import { z } from "zod";
import { InputError } from "../shared/errors.ts";
import { CHARGE_POLICIES, type ChargePolicy } from "./charge.ts";
import type { AnswerScript } from "./directive.ts";
import { type Faults, milliseconds } from "./faults.ts";

const rate = z.number().positive();

const settingsSchema = z.object({
  port: z.int().min(0).max(65_535).default(0),
  host: z.string().default("127.0.0.1"),
  rpm: rate.nullish(),
  tpm: rate.nullish(),
  itpm: rate.nullish(),
  otpm: rate.nullish(),
  charge: z.enum(CHARGE_POLICIES).default("used"),
  burstSeconds: rate.default(1),
  startFull: z.boolean().default(true),
  latencyMs: milliseconds.default(200),
  jitterMs: milliseconds.default(50),
  faults: z.custom<Faults | string>().optional(),
  seed: z.int().default(1),
  journalFile: z.string().optional(),
  batchSpeed: z.number().positive().max(1e6).default(1),
  flexRefused: z.number().min(0).max(1).default(0),
  promptCache: z.union([z.boolean(), milliseconds]).default(false),
  answer: z.custom<AnswerScript>((value) => typeof value === "function").optional(),
});

/** What a simulator starts with; all but the port and host can be changed while it runs. */
export interface SimulatorOptions {
  /** The port; default 0: a free one. */
  port?: number;
  /** A loopback address or name; default 127.0.0.1. */
  host?: string;
  /** Requests per minute, for each API key and model; default none. */
  rpm?: number | null;
  /** Tokens per minute, prompt and completion together, for each API key and model; default none. */
  tpm?: number | null;
  /** Input tokens per minute, for each API key and model; default none. */
  itpm?: number | null;
  /** Output tokens per minute, for each API key and model; default none. */
  otpm?: number | null;
  /** `requested` charges `max_tokens`, where given, instead of the real completion, `produced` the completion when it is there; default `used`. */
  charge?: ChargePolicy;
  /**
   * Size of the buckets in seconds of their rate; default 1. A request of more tokens than its bucket holds waits
   * until that is full; if it is more than a minute's limit too, it is refused for good.
   */
  burstSeconds?: number;
  /** Whether buckets start full; default true. */
  startFull?: boolean;
  /** Time to answer in milliseconds; default 200. A stream begins after half of it. */
  latencyMs?: number;
  /** Latencies lie within ± these milliseconds; default 50. */
  jitterMs?: number;
  /** The faults, as an object or its JSON text; default none. */
  faults?: Faults | string;
  /** The seed of faults and jitter; default 1. */
  seed?: number;
  /** A file to which every call is appended as JSON lines; default none. */
  journalFile?: string;
  /** How many times faster the hours of OpenAI's and Anthropic's batches pass; default 1. */
  batchSpeed?: number;
  /** The share of `service_tier: "flex"` calls that find no room; default 0. */
  flexRefused?: number;
  /** Whether equal long beginnings of prompts are cached, and usage says so: `true` for 5 minutes, or so many milliseconds; default false. */
  promptCache?: boolean | number;
  /** The script of answers to requests without a `#sim` line; default: answers are made up. */
  answer?: AnswerScript;
}
export type SimulatorSettings = z.output<typeof settingsSchema>;

export const latencyChangeSchema = z.strictObject({
  latencyMs: milliseconds.optional(),
  jitterMs: milliseconds.optional(),
});
/** New latencies in milliseconds; what is absent stays as it is. */
export type LatencyChange = z.infer<typeof latencyChangeSchema>;

/** Returns the options with their defaults. @throws InputError naming the option that is wrong. */
export function readSettings(options: SimulatorOptions): SimulatorSettings {
  return readWith(settingsSchema, options, "simulator");
}

/** Returns a value as its schema has it. @throws InputError naming the first field that is wrong. */
export function readWith<T extends z.ZodType>(schema: T, value: unknown, what: string): z.output<T> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new InputError(`${[what, ...(issue?.path ?? [])].join(" ")}: ${issue?.message}`);
}
