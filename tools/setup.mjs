/**
 * Set-up of a checkout: the dependencies, and a new enough Node.js. It runs on Node 20 without any dependency, says
 * nothing and takes a few milliseconds when there is nothing to do.
 */
import { spawn } from "node:child_process";
import {
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const LOCK_POLL_MS = 200;
const TOLD_EVERY_MS = 30_000;
/** An install takes seconds; a lock this old is that of a dead process whose pid was given to another one. */
const LOCK_STALE_MS = 15 * 60_000;

/** A fault of the machine that the user can mend; `exitCode` 3 as for every configuration fault. */
export class SetupError extends Error {
  exitCode = 3;
}

/** Node.js 24 and later: they run the checkout's TypeScript as it is. The published package is compiled for 22 too. */
export function isSupportedNode(version) {
  return Number.parseInt(version.replace(/^v/, ""), 10) >= 24;
}

/**
 * Installs what is missing, and returns the full path of the Node.js to use: the running one, or the pinned one of
 * tools/node when it is too old. Set-ups that run at the same time wait for each other.
 */
export async function ensureSetup({ root = ROOT, version = process.version } = {}) {
  const nodeFolder = isSupportedNode(version) ? undefined : join(root, "tools", "node");
  const node = nodeFolder ? pinnedNode(nodeFolder) : process.execPath;
  const missing = () => [root, nodeFolder].filter((folder) => folder && !isInstalled(folder));
  if (missing().length > 0) {
    await underLock(join(root, ".gluellm"), async () => {
      const folders = missing();
      if (folders.length === 0) return;
      process.stderr.write("gluellm: installing dependencies (once: 20 s, or minutes on a slow machine)…\n");
      const beganAt = Date.now();
      const told = setInterval(() => {
        const seconds = Math.round((Date.now() - beganAt) / 1000);
        process.stderr.write(`gluellm: still installing, ${seconds} s so far\n`);
      }, TOLD_EVERY_MS);
      await Promise.all(folders.map(install)).finally(() => clearInterval(told));
    });
  }
  if (!existsSync(node))
    throw new SetupError(
      `${node} is missing after the install; remove ${nodeFolder}/node_modules and try again`,
    );
  return node;
}

function pinnedNode(folder) {
  const name = `node-${process.platform}-${process.arch}`;
  const { optionalDependencies } = readJson(join(folder, "package.json"));
  if (!optionalDependencies[name] || isMusl()) {
    throw new SetupError(
      `a checkout of gluellm needs Node.js 24 or newer, and this is ${process.version}: install Node.js 24 from https://nodejs.org and run the command again`,
    );
  }
  return join(folder, "node_modules", name, "bin", "node");
}

/** The pinned Node.js is linked against glibc, which Alpine Linux does not have. */
function isMusl() {
  return process.platform === "linux" && !process.report.getReport().header.glibcVersionRuntime;
}

/** True when node_modules holds what the lock file says. npm writes the inner lock as the last step of an install. */
export function isInstalled(folder) {
  const wanted = join(folder, "package-lock.json");
  const installed = join(folder, "node_modules", ".package-lock.json");
  if (!existsSync(installed)) return false;
  if (statSync(installed).mtimeMs >= statSync(wanted).mtimeMs) return true;
  // A checkout of another commit and back gives the lock file a new date, not a new content.
  if (!holdsSamePackages(readJson(wanted).packages, readJson(installed).packages)) return false;
  const now = new Date();
  utimesSync(installed, now, now);
  return true;
}

function holdsSamePackages(wanted, installed) {
  const same = (name) =>
    wanted[name]?.version === installed[name]?.version &&
    wanted[name]?.integrity === installed[name]?.integrity;
  const needed = Object.keys(wanted).filter((name) => name !== "" && !wanted[name].optional);
  return [...needed, ...Object.keys(installed)].every(same);
}

/** `npm ci` replaces node_modules as a whole; what npm prints is shown only when it fails. */
async function install(folder) {
  const options = ["--prefix", folder, "--include=dev", "--include=optional", "--engine-strict=false"];
  const quiet = ["--no-audit", "--no-fund", "--loglevel=error"];
  const [command, ...args] = [...npmCommand(), "ci", ...options, ...quiet];
  const child = spawn(command, args, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => {
      output += text;
    });
  }
  const code = await new Promise((resolve) => {
    child.on("error", (error) => {
      output += error.message;
      resolve(1);
    });
    child.on("close", (exitCode) => resolve(exitCode ?? 1));
  });
  if (code !== 0)
    throw new SetupError(`npm ci failed in ${folder}:\n${output.trim().split("\n").slice(0, 40).join("\n")}`);
}

/** npm as a script that this Node.js runs (no shell, also on Windows), else the npm of the search path. */
function npmCommand() {
  const besideNode = dirname(process.execPath);
  const script = [
    process.env.npm_execpath,
    join(besideNode, "node_modules", "npm", "bin", "npm-cli.js"),
    join(besideNode, "..", "lib", "node_modules", "npm", "bin", "npm-cli.js"),
  ].find((path) => path?.endsWith("npm-cli.js") && existsSync(path));
  return script ? [process.execPath, script] : ["npm"];
}

async function underLock(folder, action) {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const lock = join(folder, "setup.lock");
  while (!takeLock(lock)) await delay(LOCK_POLL_MS);
  try {
    await action();
  } finally {
    rmSync(lock, { force: true });
  }
}

/** The lock appears together with its content (a link), so nobody ever reads half of it. */
function takeLock(lock) {
  const draft = `${lock}.${process.pid}`;
  writeFileSync(draft, String(process.pid));
  try {
    linkSync(draft, lock);
    return true;
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
    removeIfStale(lock, draft);
    return false;
  } finally {
    rmSync(draft, { force: true });
  }
}

/**
 * Moves a dead holder's lock aside. Should a new holder have taken it in between, its lock is what was moved: it is
 * put back.
 */
function removeIfStale(lock, draft) {
  const holder = readHolder(lock);
  if (holder === undefined || isHeld(lock, holder)) return;
  const aside = `${draft}.stale`;
  try {
    renameSync(lock, aside);
    if (readHolder(aside) !== holder) linkSync(aside, lock);
  } catch (error) {
    if (error.code !== "ENOENT" && error.code !== "EEXIST") throw error;
  } finally {
    rmSync(aside, { force: true });
  }
}

function readHolder(lock) {
  try {
    return Number(readFileSync(lock, "utf8"));
  } catch {
    return undefined;
  }
}

function isHeld(lock, pid) {
  try {
    if (Date.now() - statSync(lock).mtimeMs > LOCK_STALE_MS) return false;
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

function readJson(path) {
  return JSON.parse(readFileSync(path, "utf8"));
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  try {
    await ensureSetup();
  } catch (error) {
    process.stderr.write(`${error instanceof SetupError ? error.message : error.stack}\n`);
    process.exitCode = error.exitCode ?? 1;
  }
}
