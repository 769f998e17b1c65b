import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { makeFolder } from "./make-folder.ts";
import { type ServerBinary, verifyServer } from "./server-binary.ts";

const PROGRAMS = ["usr/bin/redis-server", "usr/bin/valkey-server"];

/** Returns an earlier download that still runs; a system upgrade can take its libraries away. */
export async function findCachedServer(cacheDir: string): Promise<ServerBinary | undefined> {
  const server = await verifyUnpacked(cachedServerFolder(cacheDir));
  return typeof server === "string" ? undefined : server;
}

/** Returns the folder of a release and processor: a cache can outlive an upgrade, or be shared through a network home. */
export function cachedServerFolder(cacheDir: string): string {
  const release = readRelease();
  const name = `${release.get("ID") ?? process.platform}-${release.get("VERSION_ID") ?? "rolling"}`;
  return join(cacheDir, `redis-${name.replace(/[^\w.-]/g, "_")}-${process.arch}`);
}

/** Returns the server of unpacked packages with their libraries, or the reason why it does not run. */
export async function verifyUnpacked(folder: string): Promise<ServerBinary | string> {
  const program = PROGRAMS.map((name) => join(folder, name)).find((path) => existsSync(path));
  return program
    ? verifyServer(program, libraryFolders(folder).join(delimiter))
    : `${folder} holds no server`;
}

/** Returns the first folder that can be written. @throws the last folder's fault when none can. */
export function firstWritable(folders: readonly string[]): string {
  let fault: unknown;
  for (const folder of folders) {
    try {
      makeFolder(folder);
      rmSync(mkdtempSync(join(folder, ".probe-")), { recursive: true });
      return folder;
    } catch (error) {
      fault = error;
    }
  }
  throw fault;
}

function libraryFolders(folder: string): string[] {
  const libraries = readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((file) => /\.so(\.\d+)*$/.test(file))
    .map((file) => dirname(join(folder, file)));
  return [...new Set(libraries)];
}

function readRelease(): Map<string, string> {
  try {
    const lines = readFileSync("/etc/os-release", "utf8").matchAll(/^(\w+)="?([^"\n]*)"?$/gm);
    return new Map([...lines].map(([, key = "", value = ""]) => [key, value]));
  } catch {
    return new Map();
  }
}
