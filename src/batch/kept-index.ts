import { setImmediate } from "node:timers/promises";
import { sha256 } from "../shared/digest.ts";
import { identityOf } from "../shared/process-identity.ts";
import type { WireOptions } from "../shared/wire-options.ts";
import { DiskIndex } from "./disk-index.ts";
import type { InputFile } from "./input-file.ts";
import { readBatchId } from "./partial-header.ts";
import type { ResolveModel } from "./resolve-model.ts";

const VERSION = 2;
const BLOCK_BYTES = 4 * 1024 * 1024;

/** What the rows of an index hang on beside the bytes of the input. */
export interface IndexBasis {
  input: InputFile;
  outputPath: string;
  resolveModel: ResolveModel;
  promptField?: string;
  limitRows?: number;
  wire?: WireOptions | undefined;
}

/** A model that a row named, as it was resolved. */
export type ResolvedName = [name: string | null, vendor: string | null, key: string];

/**
 * Returns the index that an earlier run of the batch left, when it can be trusted: the input has the same size, time and
 * blocks, the options are the same, the names of models mean the same, and no power cut was between.
 * @throws InputError `output_in_use`; what `resolveModel` throws
 */
export async function reopenIndex(basis: IndexBasis): Promise<DiskIndex | undefined> {
  const batchId = readBatchId(basis.outputPath);
  const index = batchId === undefined ? undefined : DiskIndex.reopen(basis.outputPath);
  if (!index) return undefined;
  try {
    const isOurs =
      index.recall("basis") === (await basisOf(basis)) &&
      index.recall("batchId") === batchId &&
      meansTheSame(index, basis.resolveModel) &&
      (await hasSameBlocks(index, basis.input));
    if (isOurs) return index;
    index.close();
    return undefined;
  } catch (error) {
    index.close();
    throw error;
  }
}

/** Begins an index that a later run can trust. */
export async function createKeptIndex(basis: IndexBasis): Promise<DiskIndex> {
  const index = DiskIndex.create(basis.outputPath, { kept: true });
  const text = await basisOf(basis);
  index.transaction(() => index.remember("basis", text));
  return index;
}

/** Hashes the blocks of the input that the scan has left behind since the last time. */
export async function hashBlocks(index: DiskIndex, input: InputFile, scannedBytes: number): Promise<void> {
  const { n: first } = index.database.prepare("SELECT count(*) AS n FROM blocks").get() as { n: number };
  const insert = index.database.prepare("INSERT INTO blocks VALUES (?, ?)");
  for (let n = first; (n + 1) * BLOCK_BYTES <= scannedBytes; n += 1) {
    const hash = await hashOf(input, n);
    index.guard(() => insert.run(n, hash));
  }
}

async function basisOf({ input, promptField, limitRows, wire }: IndexBasis): Promise<string> {
  const { size, mtimeMs } = await input.handle.stat();
  const { parseAll: _, ...form } = { parseAll: undefined, ...input.form };
  // Written without fsync: after another boot it may be torn.
  const boot = identityOf(1)?.startedAt ?? "";
  const rules = [promptField ?? null, limitRows ?? null, ...(wire ? [wire] : [])];
  return JSON.stringify([VERSION, boot, size, mtimeMs, form, ...rules]);
}

function meansTheSame(index: DiskIndex, resolveModel: ResolveModel): boolean {
  const names = (index.recall("names") ?? []) as ResolvedName[];
  return names.every(
    ([name, vendor, key]) => resolveModel(name ?? undefined, (vendor ?? undefined) as never).key === key,
  );
}

async function hasSameBlocks(index: DiskIndex, input: InputFile): Promise<boolean> {
  const blocks = index.database.prepare("SELECT n, hash FROM blocks ORDER BY n").all();
  for (const { n, hash } of blocks as { n: number; hash: string }[]) {
    if ((await hashOf(input, n)) !== hash) return false;
    await setImmediate();
  }
  return true;
}

async function hashOf(input: InputFile, n: number): Promise<string> {
  return sha256(await input.read({ offset: n * BLOCK_BYTES, bytes: BLOCK_BYTES }));
}
