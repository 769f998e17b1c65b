import type { z } from "zod";
import type { CompletionInput } from "../producers/completion-producer.ts";
import type { StartLimits } from "../store/run-limits.ts";
import type { RetryPolicy } from "./retry-policy.ts";

/** Work in the worker's own process. */
export interface LocalEffect {
  kind: "local";
  work: (signal: AbortSignal) => unknown;
  retry: Required<RetryPolicy>;
  /** Of each try. */
  timeoutMs: number | undefined;
}

/** What has to happen so that a step ends. */
export type Effect =
  | { kind: "completion"; input: CompletionInput }
  | {
      kind: "child";
      workflow: string;
      version: number;
      input: unknown;
      priority: number | undefined;
      abandon: boolean;
      limits: StartLimits | undefined;
    }
  | LocalEffect
  /** As its definition or its name was given: the worker that has it checks it. */
  | { kind: "activity"; activity: string; input: unknown; typed: boolean; priority: number | undefined }
  | { kind: "sleep"; ms: number }
  /** `schema`: of the data, where this wait alone has one; who signals the run is told at once what does not fit. */
  | { kind: "signal"; timeoutMs: number | undefined; schema: z.ZodType | undefined };
