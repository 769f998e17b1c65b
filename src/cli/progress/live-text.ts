import { createRequire } from "node:module";

export interface LiveText {
  /** Draws lines in the place of those before. */
  draw(lines: readonly string[]): void;
  /** Leaves what is drawn standing. */
  end(): void;
}

/**
 * Draws text in place on standard error. What else is written there meanwhile, such as a log line, comes to stand above
 * it. Its packages are loaded here: most commands draw nothing.
 */
export function createLiveText(): LiveText {
  const load = createRequire(import.meta.url);
  const { createLogUpdate } = load("log-update") as typeof import("log-update");
  const { default: widthOf } = load("string-width") as typeof import("string-width");
  const { stderr } = process;
  const update = createLogUpdate(stderr);
  const write = stderr.write;
  let drawn: readonly string[] = [];
  let isDrawing = false;
  const draw = (lines: readonly string[]) => {
    isDrawing = true;
    update(lines.join("\n"));
    isDrawing = false;
    drawn = lines;
  };
  stderr.write = function writeAbove(...written: Parameters<typeof write>): boolean {
    if (isDrawing || drawn.length === 0) return write.apply(stderr, written);
    isDrawing = true;
    update.clear();
    const isTaken = write.apply(stderr, written);
    if (!String(written[0]).endsWith("\n")) write.call(stderr, "\n");
    draw(drawn);
    return isTaken;
  } as typeof write;
  // A narrower terminal has broken the lines that stand there into more.
  const onResize = () => {
    const columns = Math.max(1, stderr.columns);
    const rows = drawn.reduce((sum, line) => sum + Math.max(1, Math.ceil(widthOf(line) / columns)), 0);
    if (rows <= drawn.length) return;
    isDrawing = true;
    write.call(stderr, `\u001b[${rows}A\r\u001b[J`);
    update.done();
    isDrawing = false;
    drawn = [];
  };
  stderr.on("resize", onResize);
  return {
    draw,
    end: () => {
      stderr.off("resize", onResize);
      stderr.write = write;
      update.done();
    },
  };
}
