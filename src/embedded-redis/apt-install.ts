import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { type AptOptions, archiveFolder, privateApt } from "./apt.ts";
import { acquireLock } from "./lock.ts";
import type { ServerBinary } from "./server-binary.ts";
import { cachedServerFolder, findCachedServer, firstWritable, verifyUnpacked } from "./server-cache.ts";

const run = promisify(execFile);

/** The packages of a server, in order of preference; the program itself is in the tools package. */
const PACKAGES = [
  ["redis-server", "redis-tools"],
  ["valkey-server", "valkey-tools"],
];

export interface AptInstallOptions extends AptOptions {
  dpkgDeb: string;
  /** Folders for the download; the first one that can be written is used. */
  cacheDirs: readonly string[];
}

/**
 * Downloads a server, and the libraries this machine lacks, into the cache and returns it. The packages are unpacked,
 * never installed: none of their scripts run, and no root is needed.
 * @throws Error with apt's own complaint.
 */
export async function installWithApt(options: AptInstallOptions): Promise<ServerBinary> {
  const cacheDir = firstWritable(options.cacheDirs);
  const lock = await acquireLock(join(cacheDir, "install.lock"), 300_000);
  const workDir = mkdtempSync(join(cacheDir, ".install-"));
  try {
    const cached = await findCachedServer(cacheDir);
    if (cached) return cached;
    const target = cachedServerFolder(cacheDir);
    const unpacked = await download(options, workDir);
    rmSync(target, { recursive: true, force: true });
    renameSync(unpacked, target);
    const server = await verifyUnpacked(target);
    if (typeof server === "string") throw new Error(server);
    return server;
  } finally {
    rmSync(workDir, { recursive: true, force: true });
    lock.release();
  }
}

/** Downloads the packages, and returns a folder inside `workDir` with a server that was seen to run. */
async function download(options: AptInstallOptions, workDir: string): Promise<string> {
  const apt = privateApt(options, workDir);
  // Some source of the system may be broken without harm to the one that has Redis: the next step decides.
  const faults = [await apt("update")];
  for (const names of PACKAGES) {
    const fault = await apt("install", "--yes", "--reinstall", "--download-only", ...names);
    if (fault) {
      faults.push(fault);
      continue;
    }
    const unpacked = await unpack(options.dpkgDeb, workDir);
    const server = await verifyUnpacked(unpacked);
    if (typeof server !== "string") return unpacked;
    faults.push(server);
  }
  throw new Error(faults.filter(Boolean).join("; "));
}

async function unpack(dpkgDeb: string, workDir: string): Promise<string> {
  const archives = archiveFolder(workDir);
  const target = mkdtempSync(join(workDir, "root-"));
  for (const file of readdirSync(archives).filter((name) => name.endsWith(".deb"))) {
    await run(dpkgDeb, ["--extract", join(archives, file), target], { timeout: 60_000 });
  }
  return target;
}
