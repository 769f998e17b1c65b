import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import xterm from "@xterm/headless";
import { startSimulator } from "../src/simulator/simulator.ts";
import { type Frame, linesOf, movingSvg, textOf } from "./terminal-svg.ts";

/*
 * Writes docs/progress.svg, a recording of a real run against the simulator: `gluellm batch run` on a terminal, killed in the middle, and
 * typed again. A frame is taken at every few rows, so that it plays as long on any machine. Needs `script` of util-linux.
 */

const ROOT = join(import.meta.dirname, "..");
const COLUMNS = 100;
const ROWS = 30;
const COUNT = 500;
const MODELS = ["openai:gpt-4o-mini", "openai:gpt-4.1", "anthropic:claude-haiku-4-5"];
const COMMAND = "batch run questions.jsonl -o answers.jsonl --workers 2 --max-cost 5";
const LABEL =
  "A recording of a terminal: a batch with a bar, rates, costs, models, workers and failures; it is killed, typed again, goes on where it was, and reports";
/** Of rows done, at which the process is killed. */
const DEATH_PERCENT = 50;
/** Of rows done, from one frame to the next. */
const FRAME_PERCENT = 3;
/** How long frames are shown. */
const FRAME_MS = 500;
const TYPED_MS = 1500;
const END_MS = 6000;

/** Ends what is to be shown at once. */
const FRAME_END = "\u001b[?2026l";

const folder = mkdtempSync(join(tmpdir(), "gluellm-picture-"));
const pidFile = join(folder, "pid");
const simulator = await startSimulator({
  port: 0,
  latencyMs: 900,
  jitterMs: 500,
  rpm: 1200,
  tpm: 150_000,
  faults: JSON.stringify({ 500: 0.01, 400: 0.01 }),
});
const screen = new xterm.Terminal({ cols: COLUMNS, rows: ROWS, allowProposedApi: true });
const frames: Frame[] = [];
try {
  const rows = Array.from({ length: COUNT }, (_, i) => ({
    custom_id: `question-${i}`,
    prompt: `What is ${i} times ${i + 7}?`,
    model: MODELS[i % MODELS.length],
  }));
  writeFileSync(join(folder, "questions.jsonl"), `${rows.map((row) => JSON.stringify(row)).join("\n")}\n`);
  await type(COMMAND);
  await run({ deathAt: DEATH_PERCENT });
  const still = frames.length - 1;
  await write("\r\nKilled\r\n");
  await type(COMMAND);
  await run({});
  shoot(END_MS);
  writeFileSync(
    join(ROOT, "docs/progress.svg"),
    movingSvg(frames, { columns: COLUMNS, still, label: LABEL }),
  );
} finally {
  await simulator.close();
  rmSync(folder, { recursive: true, force: true });
}

async function type(command: string): Promise<void> {
  await write(`\u001b[2m$\u001b[0m npx gluellm ${command}\r\n`);
  shoot(TYPED_MS);
}

function write(data: string): Promise<void> {
  return new Promise((written) => screen.write(data, written));
}

function shoot(durationMs: number): void {
  frames.push({ lines: linesOf(screen), durationMs });
}

/** Runs the command in a pseudo terminal, to its end or death. */
async function run({ deathAt = 101 }): Promise<void> {
  const program = `${process.execPath} ${join(ROOT, "src/cli/main.ts")} ${COMMAND}`;
  const shell = `stty cols ${COLUMNS} rows ${ROWS}; echo $$ > ${pidFile}; exec ${program}`;
  const child = spawn("script", ["-qec", shell, "/dev/null"], {
    cwd: folder,
    env: {
      ...process.env,
      TERM: "xterm-256color",
      GLUELLM_NAMESPACE: "picture",
      OPENAI_BASE_URL: `${simulator.url}/v1`,
      OPENAI_API_KEY: "none",
      ANTHROPIC_BASE_URL: simulator.url,
      ANTHROPIC_API_KEY: "none",
    },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = once(child, "exit");
  let nextAt = 0;
  for await (const data of child.stdout.setEncoding("utf8")) {
    await write(data);
    const percent = Number([...textOf(screen).matchAll(/ (\d+) %/g)].at(-1)?.[1] ?? 0);
    if (!data.endsWith(FRAME_END) || percent < nextAt) continue;
    nextAt = percent + FRAME_PERCENT;
    shoot(FRAME_MS);
    if (percent < deathAt) continue;
    process.kill(Number(readFileSync(pidFile, "utf8")), "SIGKILL");
    break;
  }
  await ended;
}
