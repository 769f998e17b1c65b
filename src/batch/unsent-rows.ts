import type { UnsentRows } from "./batch-end.ts";
import type { DiskIndex } from "./disk-index.ts";
import type { IndexRow } from "./index-row.ts";
import { malformedLine } from "./output-line.ts";
import type { PreparedBatch } from "./prepare-batch.ts";
import type { RowJobs } from "./row-jobs.ts";
import type { RowReader } from "./row-reader.ts";
import type { Window } from "./window.ts";

/* What becomes of the rows of a batch that ends before all of them were sent, and that no later run goes on with. */

const PAGE = 500;

function* missingPages(index: DiskIndex, modelKey: string): Generator<IndexRow[]> {
  for (let after = 0; ; ) {
    const rows = index.nextMissing(modelKey, after, PAGE);
    const last = rows.at(-1);
    if (!last) return;
    yield rows;
    after = last.line;
  }
}

/** Takes rows of earlier runs into the windows: a worker may be calling for one of them, and what it brings is paid. */
export async function adoptRows(
  { index, reader, jobs }: { index: DiskIndex; reader: RowReader; jobs: RowJobs },
  windows: readonly Window[],
): Promise<void> {
  for (const window of windows) {
    for (const rows of missingPages(index, window.model.key)) {
      for (const row of rows) {
        const jobId = jobs.jobIdOf(row.id);
        if (window.rows.has(jobId)) continue;
        const { id, customId, endpoint, line, bytes } = await reader.readRow(row);
        window.add(jobId, { id, customId, endpoint, line, bytes, deadlineAt: 0, blob: undefined });
      }
    }
  }
}

/** Gives every row without a result one that says why it has none. */
export async function failMissingRows(
  { index, reader, output }: Pick<PreparedBatch, "index" | "reader" | "output">,
  told: UnsentRows,
): Promise<void> {
  for (const { key } of index.models()) {
    for (const rows of missingPages(index, key)) {
      const lines = [];
      for (const row of rows) {
        const { id, customId } = await reader.readRow(row);
        lines.push({ id, line: malformedLine({ id, customId }, told), failed: true });
      }
      await output.append(lines);
    }
  }
}
