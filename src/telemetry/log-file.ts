import { closeSync, fstatSync, mkdirSync, openSync, renameSync, rmSync, statSync, writeSync } from "node:fs";
import { dirname } from "node:path";

export interface LogFileOptions {
  path: string;
  /** The file is set aside before it would be larger; 0: never for its size. */
  maxBytes: number;
  /** How many that were set aside are kept: `gluellm.log.1`, the newest, to `gluellm.log.5`. */
  backupCount: number;
  /** Whether it is also set aside when the day ends, by this machine's time. */
  daily: boolean;
}

/** Lines that wait for the end of the event loop's turn at most. */
const MAX_WAITING_LINES = 1000;
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
 * A file for lines of a log. It is written once per turn of the event loop, so that a killed process loses what its last turn wrote. Several
 * processes may write to one file; whichever finds it full sets it aside, and the others go on with the new one. A fault of the disk costs
 * lines, and no work.
 */
export class LogFile {
  readonly #options: LogFileOptions;
  #lines: string[] = [];
  #turn: NodeJS.Immediate | undefined;
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
    else this.#turn ??= setImmediate(() => this.flush());
  }

  /** Writes what waits. */
  flush(): void {
    clearImmediate(this.#turn);
    this.#turn = undefined;
    const text = this.#lines.join("");
    this.#lines = [];
    if (text === "" || Date.now() < this.#restsUntil) return;
    try {
      const bytes = Buffer.from(text);
      const { fd } = this.#fileFor(bytes.length);
      for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written);
    } catch (error) {
      this.#restsUntil = Date.now() + REST_MS;
      this.#close();
      const { code = "unknown fault" } = error as NodeJS.ErrnoException;
      process.stderr.write(
        `the log file ${this.#options.path} cannot be written: ${code}; its lines are lost\n`,
      );
    }
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
