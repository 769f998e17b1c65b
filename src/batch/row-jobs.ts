import type { Store } from "../store/store.ts";

/*
 * The ids of a batch's jobs are made of the batch's id and the rows'. With encryption on they are masked: an id of a row is a digest of
 * its request, by which whoever reads Redis could see that it was made.
 */

const ROW_ID = /^[0-9a-f]{32}$/;

/** Knows which job is whose row's. */
export interface RowJobs {
  /** Whether the batch's jobs have masked ids; it stays so in all of its runs. */
  readonly areMasked: boolean;
  jobIdOf(rowId: string): string;
  rowIdOf(jobId: string): string;
}

/**
 * @param areMasked as the batch's record says
 * @throws GlueError `encryption_key_missing` when they are masked, and this process cannot know how
 */
export async function rowJobs(store: Store, batchId: string, areMasked: boolean): Promise<RowJobs> {
  const ids = areMasked ? await store.sealing.maskedIds() : undefined;
  const hex = (bytes: Buffer) => bytes.toString("hex");
  return {
    areMasked,
    jobIdOf: (rowId) => `${batchId}-${ids ? hex(ids.mask(Buffer.from(rowId, "hex"))) : rowId}`,
    rowIdOf: (jobId) => {
      const id = jobId.slice(batchId.length + 1);
      // What is no id of ours is no row's.
      return ids && ROW_ID.test(id) ? hex(ids.unmask(Buffer.from(id, "hex"))) : id;
    },
  };
}
