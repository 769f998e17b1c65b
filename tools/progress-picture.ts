import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import xterm from "@xterm/headless";
import { startSimulator } from "../src/simulator/simulator.ts";

/*
 * Writes docs/progress.svg: what `gluellm batch run` shows on a terminal in the middle of a real run against the
 * simulator. Needs `script` of util-linux.
 */

const ROOT = join(import.meta.dirname, "..");
const COLUMNS = 100;
const ROWS = 30;
const MODELS = ["openai:gpt-4o-mini", "openai:gpt-4.1", "anthropic:claude-haiku-4-5"];
const RUN = "$ npx gluellm batch run questions.jsonl -o answers.jsonl --workers 2 --max-cost 5";
/** The share of rows done at which the picture is taken. */
const MOMENT = 0.6;

/** Ends what is to be shown at once. */
const FRAME_END = "\u001b[?2026l";

const CELL = { width: 8.4, height: 19 };
const MARGIN = 16;
const COLOURS = { background: "#0d1117", text: "#d1d7e0", dim: "#7d8590" };
const PALETTE: Record<number, string> = {
  1: "#ff7b72",
  2: "#3fb950",
  3: "#d29922",
  6: "#39c5cf",
};

const folder = mkdtempSync(join(tmpdir(), "gluellm-picture-"));
const simulator = await startSimulator({
  port: 0,
  latencyMs: 900,
  jitterMs: 500,
  rpm: 1200,
  tpm: 150_000,
  faults: JSON.stringify({ 500: 0.01, 400: 0.01 }),
});
try {
  writeFileSync(join(ROOT, "docs", "progress.svg"), svg(await screenAt(MOMENT)));
} finally {
  await simulator.close();
  rmSync(folder, { recursive: true, force: true });
}

/** Runs the batch in a pseudo terminal; returns what stands there at the moment. */
async function screenAt(share: number): Promise<xterm.Terminal> {
  const rows = Array.from({ length: 900 }, (_, i) => ({
    custom_id: `question-${i}`,
    prompt: `What is ${i} times ${i + 7}?`,
    model: MODELS[i % MODELS.length],
  }));
  writeFileSync(join(folder, "questions.jsonl"), `${rows.map((row) => JSON.stringify(row)).join("\n")}\n`);
  const command = `${process.execPath} ${join(ROOT, "src/cli/main.ts")} ${RUN.slice("$ npx gluellm ".length)}`;
  const shell = `stty cols ${COLUMNS} rows ${ROWS} && exec ${command}`;
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
  const screen = new xterm.Terminal({ cols: COLUMNS, rows: ROWS, allowProposedApi: true });
  for await (const data of child.stdout.setEncoding("utf8")) {
    await new Promise<void>((written) => screen.write(data, written));
    const done = Number(/ (\d+) %/.exec(textOf(screen))?.[1] ?? 0);
    if (done >= share * 100 && data.endsWith(FRAME_END)) break;
  }
  child.kill("SIGTERM");
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  return screen;
}

function linesOf({ buffer: { active } }: xterm.Terminal) {
  return Array.from({ length: active.length }, (_, i) => active.getLine(i)).filter(
    (line) => line !== undefined,
  );
}

function textOf(screen: xterm.Terminal): string {
  return linesOf(screen)
    .map((line) => line.translateToString(true))
    .join("\n");
}

/** Returns the screen as a picture: a text element for each run of cells that look alike. */
function svg(screen: xterm.Terminal): string {
  const lines = linesOf(screen).filter((_, i) => i <= lastLine(screen));
  const texts = [
    span(RUN, 0, 0, `fill="${COLOURS.text}"`),
    ...lines.flatMap((line, i) => spansOf(line, i + 1)),
  ];
  const width = Math.ceil(COLUMNS * CELL.width + 2 * MARGIN);
  const height = (lines.length + 1) * CELL.height + 2 * MARGIN;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="A batch in the middle of its run: a bar, rates, costs, models, workers and failures">`,
    `<rect width="100%" height="100%" rx="8" fill="${COLOURS.background}"/>`,
    `<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="14">`,
    ...texts,
    "</g>",
    "</svg>",
    "",
  ].join("\n");
}

function lastLine(screen: xterm.Terminal): number {
  return textOf(screen).trimEnd().split("\n").length - 1;
}

function spansOf(line: NonNullable<ReturnType<typeof linesOf>[number]>, row: number): string[] {
  const runs: { text: string; column: number; look: string }[] = [];
  for (let column = 0; column < COLUMNS; column++) {
    const cell = line.getCell(column);
    if (!cell || cell.getWidth() === 0) continue;
    const fill = cell.isDim() ? COLOURS.dim : (PALETTE[cell.getFgColor()] ?? COLOURS.text);
    const look = `fill="${fill}"${cell.isBold() ? ' font-weight="bold"' : ""}`;
    const last = runs.at(-1);
    if (last?.look === look) last.text += cell.getChars() || " ";
    else runs.push({ text: cell.getChars() || " ", column, look });
  }
  return runs
    .map((run) => ({ ...run, text: run.text.trimEnd() }))
    .filter(({ text }) => text !== "")
    .map(({ text, column, look }) => span(text, column, row, look));
}

/** The cells keep their places, whatever font there is. */
function span(text: string, column: number, row: number, look: string): string {
  const blanks = text.length - text.trimStart().length;
  const shown = text.trimStart();
  const x = (MARGIN + (column + blanks) * CELL.width).toFixed(1);
  const y = MARGIN + (row + 0.75) * CELL.height;
  const length = (shown.length * CELL.width).toFixed(1);
  const escaped = shown.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  return `<text x="${x}" y="${y}" textLength="${length}" lengthAdjust="spacingAndGlyphs" xml:space="preserve" ${look}>${escaped}</text>`;
}
