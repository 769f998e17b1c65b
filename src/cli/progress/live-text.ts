import { createRequire } from "node:module";

export interface LiveText {
  /** Draws lines in the place of those before. */
  draw(lines: readonly string[]): void;
  /** Leaves what is drawn standing. */
  end(): void;
}

/**
 * Draws text in place, on standard error unless told otherwise. What else is written there meanwhile, such as a log line, comes to stand above
 * it. Its packages are loaded here: most commands draw nothing.
 */
export function createLiveText(stream: NodeJS.WriteStream = process.stderr): LiveText {
  const load = createRequire(import.meta.url);
  const { createLogUpdate } = load("log-update") as typeof import("log-update");
  const { default: widthOf } = load("string-width") as typeof import("string-width");
  const update = createLogUpdate(stream);
  const write = stream.write;
  let drawn: readonly string[] = [];
  let isDrawing = false;
  const draw = (lines: readonly string[]) => {
    // Node learns of a resize by a signal, which comes after a timer that is due: asked now, it tells `onResize` first.
    (stream as { _refreshSize?: () => void })._refreshSize?.();
    isDrawing = true;
    update(lines.join("\n"));
    isDrawing = false;
    drawn = lines;
  };
  stream.write = function writeAbove(...written: Parameters<typeof write>): boolean {
    if (isDrawing || drawn.length === 0) return write.apply(stream, written);
    isDrawing = true;
    update.clear();
    const isTaken = write.apply(stream, written);
    if (!String(written[0]).endsWith("\n")) write.call(stream, "\n");
    draw(drawn);
    return isTaken;
  } as typeof write;
  // A narrower terminal has broken the lines that stand there into more.
  const onResize = () => {
    const columns = Math.max(1, stream.columns);
    const rows = drawn.reduce((sum, line) => sum + Math.max(1, Math.ceil(widthOf(line) / columns)), 0);
    if (rows <= drawn.length) return;
    isDrawing = true;
    write.call(stream, `\u001b[${rows}A\r\u001b[J`);
    update.done();
    isDrawing = false;
    drawn = [];
  };
  stream.on("resize", onResize);
  return {
    draw,
    end: () => {
      stream.off("resize", onResize);
      stream.write = write;
      update.done();
    },
  };
}
