import type { CompletionInput } from "../producers/completion-producer.ts";
import type { RetryPolicy } from "./context.ts";

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
    }
  | LocalEffect
  | { kind: "sleep"; ms: number }
  | { kind: "signal"; timeoutMs: number | undefined };
