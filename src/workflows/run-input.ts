import type { LRUCache } from "lru-cache";
import type { AgentParts } from "../shared/agent.ts";
import type { StepFunction } from "../shared/step-function.ts";
import type { ActiveJob } from "../store/job-loop.ts";
import type { FleetAccess } from "./fleet-access.ts";
import type { LiveRun } from "./live-run.ts";
import type { AnyWorkflow } from "./workflow.ts";

/** A run that a worker has taken, with what the worker brings. */
export interface RunInput extends Pick<ActiveJob, "signal" | "withoutSlot"> {
  fleet: FleetAccess;
  workflows: ReadonlyMap<string, AnyWorkflow>;
  offerParts: (parts: AgentParts) => void;
  functions: ReadonlyMap<string, StepFunction>;
  /** Suspended functions by run id, so that they need no replay; undefined: each activation replays. */
  cache: LRUCache<string, LiveRun> | undefined;
  runId: string;
  token: string;
  /** Workers that were lost while they had the run, since it was last taken. */
  lostWorkers: number;
  /** Forgets them: the journal has them. */
  onLossNoted: () => Promise<void>;
  /** Of this process. */
  workerId: string;
  /** The ids of the workers whose code did not fit it. */
  unfit: readonly string[];
  /** The function that is activated. */
  onLive: (live: LiveRun) => void;
  /** The function asked for something; this may be outside of its activations. */
  onActivity: () => void;
}

/** What becomes of the run's job. */
export type RunEnd =
  | { kind: "suspended" }
  | { kind: "fenced" }
  | { kind: "putBack"; reason: string; unfit?: readonly string[] }
  | { kind: "succeeded"; summary: object }
  | { kind: "failed"; reason: string };
