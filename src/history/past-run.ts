import { dateOrNull, textOrNull, usdOf } from "./cells.ts";
import type { HistoryDatabase } from "./database.ts";
import type { ReportOptions } from "./dimensions.ts";
import type { SqlValue } from "./tables.ts";

type Row = Record<string, SqlValue>;

interface PastStep {
  step: string;
  kind: string;
  subject: string | null;
  jobId: string | null;
  state: string;
  startedAt: Date | null;
  endedAt: Date | null;
  promptTokens: number;
  completionTokens: number;
  costUsd: number | null;
  /** Another run had paid for it. */
  isReused: boolean;
  errorCode: string | null;
}

export interface PastRun {
  id: string;
  tenant: string;
  workflow: string;
  version: number;
  state: string;
  tags: string[];
  parentRunId: string | null;
  startedAt: Date;
  endedAt: Date | null;
  retries: number;
  promptTokens: number;
  completionTokens: number;
  costUsd: number;
  errorCode: string | null;
  errorMessage: string | null;
  steps: PastStep[];
}

/** Returns one run with its steps in the order of their beginning; undefined when the history has none, or it is another tenant's. */
export async function pastRun(
  history: HistoryDatabase,
  id: string,
  { tenant }: Pick<ReportOptions, "tenant"> = {},
): Promise<PastRun | undefined> {
  const [row] = await history.query<Row>("SELECT * FROM runs WHERE id = $1", [id]);
  if (!row || (tenant !== undefined && row.tenant !== tenant)) return undefined;
  const steps = await history.query<Row>(
    "SELECT * FROM steps WHERE run_id = $1 ORDER BY COALESCE(started_at, 0), step",
    [id],
  );
  return {
    id,
    tenant: String(row.tenant),
    workflow: String(row.workflow),
    version: Number(row.workflow_version),
    state: String(row.state),
    tags: JSON.parse(String(row.tags ?? "[]")),
    parentRunId: textOrNull(row.parent_run_id),
    startedAt: new Date(Number(row.started_at)),
    endedAt: dateOrNull(row.ended_at),
    retries: Number(row.retries),
    promptTokens: Number(row.prompt_tokens),
    completionTokens: Number(row.completion_tokens),
    costUsd: usdOf(row.cost_microusd) ?? 0,
    errorCode: textOrNull(row.error_code),
    errorMessage: textOrNull(row.error_message),
    steps: steps.map((step) => ({
      step: String(step.step),
      kind: String(step.kind),
      subject: textOrNull(step.subject),
      jobId: textOrNull(step.job_id),
      state: String(step.state),
      startedAt: dateOrNull(step.started_at),
      endedAt: dateOrNull(step.ended_at),
      promptTokens: Number(step.prompt_tokens),
      completionTokens: Number(step.completion_tokens),
      costUsd: usdOf(step.cost_microusd),
      isReused: step.reused === 1,
      errorCode: textOrNull(step.error_code),
    })),
  };
}
