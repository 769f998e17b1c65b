#!/usr/bin/env node
/**
 * The command. Plain JavaScript for Node.js 20: in a checkout it sets everything up first, and runs itself again
 * under the pinned Node.js when the machine's own is too old.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import module from "node:module";
import { homedir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const SETUP = new URL("../tools/setup.mjs", import.meta.url);
const SOURCE = new URL("../src/cli/main.ts", import.meta.url);
const BUILT = new URL("../dist/src/cli/main.js", import.meta.url);

/** Holds the pid of the process that started this one again. */
const RELAUNCHED_BY = "GLUELLM_RELAUNCHED_BY";
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"];
/** Ctrl-C reaches parent and child at once; a signal that was passed on so soon after is the same one. */
const SAME_SIGNAL_MS = 500;
const DIRECT_SIGNAL_GRACE_MS = 50;
const SHELL_POLL_MS = 500;

// A command starts in half the time when its modules are compiled already. Node.js 20 knows no such cache.
module.enableCompileCache?.(
  join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "gluellm", "compiled"),
);

// Node.js 22 warns its user of SQLite, which is our choice.
const { emitWarning } = process;
process.emitWarning = (warning, ...details) => {
  if (!/^SQLite is an experimental/.test(String(warning))) emitWarning.call(process, warning, ...details);
};

if (process.env[RELAUNCHED_BY] === String(process.ppid) && process.connected) {
  delete process.env[RELAUNCHED_BY];
  followParent();
  await import(SOURCE.href);
} else if (existsSync(SETUP)) {
  endWithShell();
  const node = await setUp();
  if (node === process.execPath) await import(SOURCE.href);
  else if (node) relaunch(node);
} else {
  endWithShell();
  await runPublished();
}

async function setUp() {
  const { ensureSetup } = await import(SETUP.href);
  try {
    return await ensureSetup();
  } catch (error) {
    process.stderr.write(`${error.exitCode ? error.message : error.stack}\n`);
    process.exitCode = error.exitCode ?? 1;
    return undefined;
  }
}

async function runPublished() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major > 22 || (major === 22 && minor >= 19)) {
    await import(BUILT.href);
    return;
  }
  process.stderr.write(
    `gluellm needs Node.js 22.19 or newer, and this is ${process.version}: install Node.js 24 from https://nodejs.org\n`,
  );
  process.exitCode = 3;
}

/**
 * npm passes a signal on to the shell of its script only, and that shell ends without passing it on: taken as the
 * SIGTERM that it was.
 */
function endWithShell() {
  if (!process.env.npm_lifecycle_event) return;
  const shell = process.ppid;
  const watch = setInterval(() => {
    if (process.ppid === shell) return;
    clearInterval(watch);
    process.kill(process.pid, "SIGTERM");
  }, SHELL_POLL_MS);
  watch.unref();
}

/**
 * Runs this file again under another Node.js and ends as it ends. Signals are passed on as messages, because the
 * child may have got the same signal from the terminal, and only the child can tell.
 */
function relaunch(node) {
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    stdio: ["inherit", "inherit", "inherit", "ipc"],
    env: {
      ...process.env,
      PATH: `${dirname(node)}${delimiter}${process.env.PATH ?? ""}`,
      [RELAUNCHED_BY]: String(process.pid),
    },
  });
  for (const signal of SIGNALS) {
    process.on(signal, () => {
      if (child.connected) child.send({ signal }, () => {});
      else child.kill(signal);
    });
  }
  child.once("error", (error) => {
    process.stderr.write(`cannot run ${node}: ${error.message}\n`);
    process.exitCode = 3;
  });
  child.once("exit", (code, signal) => {
    if (!signal) process.exit(code);
    for (const name of SIGNALS) process.removeAllListeners(name);
    process.kill(process.pid, signal);
  });
}

/** The other end of `relaunch`: takes the parent's signals, each exactly once, and shares its end by kill -9. */
function followParent() {
  const receivedAt = new Map();
  for (const signal of SIGNALS) process.on(signal, (name) => onSignal(name));

  function onSignal(signal) {
    receivedAt.set(signal, performance.now());
    // A listener keeps the signal from ending the process: do what would have happened without this one.
    if (process.listenerCount(signal) > 1) return;
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  }

  process.on("message", (message) => {
    const { signal } = message ?? {};
    if (!SIGNALS.includes(signal)) return;
    const sentAt = performance.now();
    const isSame = () => (receivedAt.get(signal) ?? Number.NEGATIVE_INFINITY) > sentAt - SAME_SIGNAL_MS;
    setTimeout(() => {
      if (!isSame()) process.kill(process.pid, signal);
    }, DIRECT_SIGNAL_GRACE_MS);
  });
  process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
  process.channel.unref();
}
