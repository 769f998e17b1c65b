import { existsSync, readdirSync, statSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { dirname, join } from "node:path";
import { rowCounts } from "../../history/lists.ts";
import { openHistory } from "../../history/open-history.ts";
import { counted } from "../../shared/counted.ts";
import type { Settings } from "../../shared/settings.ts";
import { bytesText } from "../progress/figures.ts";
import { type CheckGroup, type Finding, fail, ok, warn, worst } from "./check.ts";

const MB = 1024 ** 2;
const FREE = { warn: 1024 * MB, fail: 100 * MB };
/** Bits of a mode by which others than the owner read, and write. */
const OTHERS_READ = 0o044;
const OTHERS_WRITE = 0o022;
/** Files of the data folder that hold keys. */
const KEY_FILE = /^(api-key|dashboard-token)/;

/** Disks, and who may read what lies on them. */
export function placeChecks(settings: Settings, folder: string): CheckGroup {
  const { dataDir, log } = settings;
  const dataPlaces = [...new Set([dataDir, join(dataDir, "files")].map(nearest))];
  return {
    name: "Files",
    checks: [
      {
        name: "disk",
        run: async () => {
          const found = await Promise.all([
            ...dataPlaces.map((place) => free(place, "GLUELLM_DATA_DIR")),
            ...(log.hasFile ? [free(nearest(log.file.dir), "GLUELLM_LOG_DIR")] : []),
          ]);
          return worst(found, found[0]?.seen ?? "");
        },
      },
      { name: "data folder", run: () => dataFolder(dataDir) },
      { name: ".env", run: () => envFile(join(folder, ".env")) },
      { name: "history", run: () => historyPlace(settings) },
    ],
  };
}

/** Whether the history's database answers. */
async function historyPlace(settings: Settings): Promise<Finding> {
  if (!settings.history.enabled)
    return ok("off: set GLUELLM_DATABASE_URL, or GLUELLM_HISTORY=true where all workers run on this machine");
  const history = await openHistory(settings);
  try {
    const { jobs, runs, batches } = await rowCounts(history);
    return ok(
      `${history.engine} at ${history.place}: ${counted(jobs, "job")}, ${counted(runs, "run")}, ${counted(batches, "batch", "batches")}`,
    );
  } finally {
    await history.close();
  }
}

/** The folder itself, or the next one above that is there. */
function nearest(path: string): string {
  return existsSync(path) || dirname(path) === path ? path : nearest(dirname(path));
}

async function free(place: string, setting: string): Promise<Finding> {
  const { bavail, bsize } = await statfs(place);
  const seen = `${bytesText(bavail * bsize)} free at ${place}`;
  const remedy = `make room there, or set ${setting} to another disk`;
  if (bavail * bsize < FREE.fail) return fail(seen, remedy);
  return bavail * bsize < FREE.warn ? warn(seen, remedy) : ok(seen);
}

function dataFolder(dataDir: string): Finding {
  if (!existsSync(dataDir)) return ok(`${dataDir} is made by the first command that needs it`);
  const findings: Finding[] = [];
  const { mode } = statSync(dataDir);
  if (mode & OTHERS_WRITE) findings.push(fail(`others may write to ${dataDir}`, `chmod 700 ${dataDir}`));
  else if (mode & OTHERS_READ)
    findings.push(warn(`others may read ${dataDir}, which has prompts and answers`, `chmod 700 ${dataDir}`));
  for (const name of readdirSync(dataDir).filter((each) => KEY_FILE.test(each))) {
    const path = join(dataDir, name);
    if (statSync(path).mode & (OTHERS_READ | OTHERS_WRITE))
      findings.push(fail(`others may read the key in ${path}`, `chmod 600 ${path}`));
  }
  return worst(findings, `${dataDir} is its owner's alone`);
}

function envFile(path: string): Finding {
  if (!existsSync(path)) return ok("there is none here");
  const { mode } = statSync(path);
  if (mode & OTHERS_WRITE) return fail(`others may write ${path}`, `chmod 600 ${path}`);
  if (mode & OTHERS_READ) return warn(`others may read ${path}, which may hold keys`, `chmod 600 ${path}`);
  return ok("its owner's alone");
}
