import { closeSync, fstatSync, mkdirSync, openSync, renameSync, rmSync, statSync, writeSync } from "node:fs";
import { dirname } from "node:path";

export interface LogFileOptions {
  path: string;
  /** The file is set aside before it would be larger, but for a line that is larger by itself; 0: never for its size. */
  maxBytes: number;
  /** How many that were set aside are kept: `gluellm.log.1`, the newest, to `gluellm.log.5`. */
  backupCount: number;
  /** Whether it is also set aside when the day ends, by this machine's time. */
  daily: boolean;
}

const MAX_WAITING_LINES = 1000;
/** So long a line waits at most: a write for each turn of the event loop costs more than its lines. */
const WAIT_MS = 10;
/** How often it is looked whether another process has set the file aside. */
const LOOK_MS = 1000;
/** After a fault of the disk, lines are dropped for so long. */
const REST_MS = 5000;
/** A process that died while it set files aside leaves its mark. */
const LOCK_LAPSE_MS = 10_000;

const open = new Set<LogFile>();
process.on("exit", () => {
  for (const file of open) file.flush();
});

/**
 * A file for lines of a log. It is written every 10 ms, so that a killed process loses the lines of its last 10 ms. Several processes may
 * write to one file; whichever finds it full sets it aside, and the others go on with the new one. A fault of the disk costs lines, and no
 * work.
 */
export class LogFile {
  readonly #options: LogFileOptions;
  #lines: string[] = [];
  #timer: NodeJS.Timeout | undefined;
  #file: { fd: number; ino: number; day: string } | undefined;
  #lookedAt = 0;
  #restsUntil = 0;

  constructor(options: LogFileOptions) {
    this.#options = options;
    open.add(this);
  }

  write(line: string): void {
    this.#lines.push(line);
    if (this.#lines.length >= MAX_WAITING_LINES) this.flush();
    else this.#timer ??= setTimeout(() => this.flush(), WAIT_MS);
  }

  /** Writes what waits. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const lines = this.#lines;
    this.#lines = [];
    if (lines.length === 0 || Date.now() < this.#restsUntil) return;
    try {
      this.#append(lines);
    } catch (error) {
      this.#restsUntil = Date.now() + REST_MS;
      this.#close();
      const { code = "unknown fault" } = error as NodeJS.ErrnoException;
      process.stderr.write(
        `the log file ${this.#options.path} cannot be written: ${code}; its lines are lost\n`,
      );
    }
  }

  /** In halves, where the lines are more than a file may hold. */
  #append(lines: readonly string[]): void {
    const bytes = Buffer.from(lines.join(""));
    const { maxBytes } = this.#options;
    if (maxBytes > 0 && bytes.length > maxBytes && lines.length > 1) {
      const half = lines.length >> 1;
      for (const part of [lines.slice(0, half), lines.slice(half)]) this.#append(part);
      return;
    }
    const { fd } = this.#fileFor(bytes.length);
    for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written);
  }

  close(): void {
    this.flush();
    open.delete(this);
    this.#close();
  }

  #close(): void {
    if (this.#file) closeSync(this.#file.fd);
    this.#file = undefined;
  }

  #fileFor(bytes: number) {
    const { maxBytes, daily } = this.#options;
    this.#look();
    const file = this.#file ?? this.#open();
    const { size } = fstatSync(file.fd);
    const isFull = maxBytes > 0 && size > 0 && size + bytes > maxBytes;
    if (!isFull && !(daily && size > 0 && file.day !== dayOf(new Date()))) return file;
    this.#setAside(file.ino);
    return this.#open();
  }

  #open() {
    const { path } = this.#options;
    this.#close();
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const fd = openSync(path, "a", 0o600);
    const { ino, size, mtime } = fstatSync(fd);
    this.#file = { fd, ino, day: dayOf(size > 0 ? mtime : new Date()) };
    return this.#file;
  }

  /** Goes on with the file of that name when another process, or a person, has moved ours. */
  #look(): void {
    if (!this.#file || Date.now() - this.#lookedAt < LOOK_MS) return;
    this.#lookedAt = Date.now();
    const present = statSync(this.#options.path, { throwIfNoEntry: false });
    if (present?.ino !== this.#file.ino) this.#close();
  }

  /** Moves the file on to the first place, unless somebody has, or is about to. */
  #setAside(ino: number): void {
    const { path, backupCount } = this.#options;
    const lock = `${path}.lock`;
    if (!takeLock(lock)) return;
    try {
      if (statSync(path, { throwIfNoEntry: false })?.ino !== ino) return;
      for (let place = backupCount; place > 1; place--) move(`${path}.${place - 1}`, `${path}.${place}`);
      if (backupCount > 0) move(path, `${path}.1`);
      else rmSync(path, { force: true });
    } finally {
      rmSync(lock, { force: true });
    }
  }
}

function takeLock(lock: string): boolean {
  try {
    closeSync(openSync(lock, "wx"));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    const held = statSync(lock, { throwIfNoEntry: false });
    if (held && Date.now() - held.mtimeMs > LOCK_LAPSE_MS) rmSync(lock, { force: true });
    return false;
  }
}

function move(from: string, to: string): void {
  if (statSync(from, { throwIfNoEntry: false })) renameSync(from, to);
}

function dayOf(time: Date): string {
  return `${time.getFullYear()}-${time.getMonth()}-${time.getDate()}`;
}
