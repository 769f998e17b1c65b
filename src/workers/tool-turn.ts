import type { AgentTool } from "../shared/agent.ts";
import type { Logger } from "../shared/logger.ts";
import type { Owner } from "../shared/tenant.ts";
import type { Tool } from "../shared/tool.ts";
import type { JobJournal } from "../store/job-journal.ts";
import type { JobWaits } from "../store/job-waits.ts";
import type { Store } from "../store/store.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { ChildPlace } from "./child-job.ts";
import type { JobGuardrails } from "./job-guardrails.ts";
import type { ToolOutcome } from "./tool-output.ts";

/** What the calls of one answer are run with. */
export interface ToolTurn {
  store: Store;
  metrics: Metrics | undefined;
  /** The tools the job may call. */
  tools: readonly Tool[];
  /** Those of them that hand over to another agent: one of an answer is run. */
  handoffs: readonly string[];
  /** The agent whose turn it is. */
  agent: string | undefined;
  guardrails: JobGuardrails;
  /** Asks the agent behind a tool: its answer, or the id of the job that will have it. */
  askAgent: (waits: JobWaits, tool: AgentTool, call: ChildPlace) => Promise<ToolOutcome | string>;
  journal: JobJournal;
  jobId: string;
  /** The request's own. */
  context: Readonly<Record<string, unknown>>;
  /** Of the job; 0 when no tool began it. */
  nesting: number;
  owner?: Owner;
  /** The id of the job's conversation. */
  conversation: string | undefined;
  turn: number;
  /** Aborts when the job is cancelled or its worker stops: then nothing is recorded. */
  signal: AbortSignal;
  logger: Logger;
}
