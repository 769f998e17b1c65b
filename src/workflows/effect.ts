import type { CompletionInput } from "../producers/completion-producer.ts";

/** What has to happen so that a step ends. */
export type Effect =
  | { kind: "completion"; input: CompletionInput }
  | { kind: "child"; workflow: string; version: number; input: unknown; priority: number | undefined }
  | { kind: "local"; work: (signal: AbortSignal) => Promise<unknown> }
  | { kind: "sleep"; ms: number }
  | { kind: "signal"; timeoutMs: number | undefined };
