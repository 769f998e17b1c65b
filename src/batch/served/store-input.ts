import { open } from "node:fs/promises";
import { basename } from "node:path";
import { InputError } from "../../shared/errors.ts";
import type { BatchFault } from "../../shared/file-check.ts";
import { objectId } from "../../shared/object-id.ts";
import type { Owner } from "../../shared/tenant.ts";
import { FILE_LIFE_SECONDS, type FileRecord, saveFile } from "../../store/file-record.ts";
import type { Store } from "../../store/store.ts";
import { filesOf } from "./batch-host.ts";
import { checkedOnTheWay, faultsFound, type InputRules, lineCheck } from "./check-input.ts";

/**
 * Stores a local file as the input of batches, once its lines are known to be right.
 * Returns `stored` when that has the same bytes.
 * @throws InputError naming the first line that is wrong
 */
export async function storeInput(
  store: Store,
  path: string,
  { tenant, by, stored, ...rules }: Owner & InputRules & { stored: FileRecord | undefined },
): Promise<FileRecord> {
  const files = filesOf(rules.settings, store);
  const id = objectId("file-");
  const check = lineCheck(rules);
  const handle = await open(path).catch((error: NodeJS.ErrnoException) => {
    throw new InputError(`cannot read ${path}: ${error.code}`, "check the path of the input file");
  });
  const spooled = await files.spool(id, checkedOnTheWay(handle.createReadStream(), check));
  try {
    refuse(path, check.faults());
    const { bytes, sha256 } = spooled;
    if (stored?.sha256 === sha256) return stored;
    await spooled.keep();
    const createdAt = Date.now();
    const record: FileRecord = {
      ...{ id, tenant, by, bytes, sha256, createdAt, check: check.found() },
      ...{ filename: basename(path), purpose: "batch", expiresAt: createdAt + FILE_LIFE_SECONDS * 1000 },
    };
    await saveFile(store, record);
    return record;
  } finally {
    await spooled.discard();
  }
}

/** @throws InputError when the lines of a stored file are wrong, or for another endpoint */
export function requireLines({ check, filename }: FileRecord, endpoint: string, rules: InputRules): void {
  if (check && check.endpoint !== endpoint)
    throw new InputError(`the lines of ${filename} are for ${check.endpoint}, not for ${endpoint}`);
  refuse(filename, (check && faultsFound(check, endpoint, rules)) ?? []);
}

function refuse(path: string, [first, ...others]: readonly BatchFault[]): void {
  if (!first) return;
  const at = first.line === null ? "" : `, line ${first.line}`;
  const more = others.length > 0 ? `; ${others.length} more` : "";
  throw new InputError(`${path}${at}: ${first.message}${more}`, undefined, first.code);
}
