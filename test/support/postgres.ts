import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { waitFor } from "./wait-for.ts";

const run = promisify(execFile);
const PACKAGES = "/usr/lib/postgresql";
/** Debian's `nobody`: PostgreSQL refuses to run as root. */
const NOBODY = 65_534;

/** The programs of the newest PostgreSQL on this machine; undefined: there is none. */
function programs(): string | undefined {
  if (!existsSync(PACKAGES)) return undefined;
  const newest = readdirSync(PACKAGES).sort((a, b) => Number(b) - Number(a))[0];
  const folder = join(PACKAGES, newest ?? "", "bin");
  return existsSync(join(folder, "initdb")) ? folder : undefined;
}

/** Why no cluster can be started here; undefined: it can. */
export const noPostgres =
  programs() === undefined ? "PostgreSQL is not installed (apt-get install postgresql)" : undefined;

/** A throwaway cluster that listens on a socket alone. Its folder is where another user may go, and the socket's path stays short. */
export class PostgresCluster {
  readonly #folder: string;
  readonly #bin: string;
  readonly #as: { uid?: number; gid?: number };
  #server: ChildProcess | undefined;

  private constructor(folder: string, bin: string) {
    this.#folder = folder;
    this.#bin = bin;
    this.#as = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
  }

  static async start(): Promise<PostgresCluster> {
    const cluster = new PostgresCluster(mkdtempSync("/tmp/gluellm-pg-"), programs() ?? "");
    await cluster.#make();
    await cluster.startServer();
    return cluster;
  }

  async #make(): Promise<void> {
    const { uid, gid } = this.#as;
    mkdirSync(this.#data);
    if (uid !== undefined && gid !== undefined)
      for (const folder of [this.#folder, this.#data]) chownSync(folder, uid, gid);
    const options = ["-D", this.#data, "-U", "gluellm", "-A", "trust", "-E", "UTF8", "--no-sync"];
    await run(join(this.#bin, "initdb"), [...options, "--no-instructions"], {
      ...this.#as,
      cwd: this.#folder,
    });
  }

  get #data(): string {
    return join(this.#folder, "data");
  }

  get url(): string {
    return `postgres://gluellm@/postgres?host=${this.#folder}`;
  }

  get pid(): number {
    return this.#server?.pid ?? 0;
  }

  async startServer(): Promise<void> {
    const settings = ["-F", "-k", this.#folder, "-c", "listen_addresses=", "-c", "max_connections=20"];
    this.#server = spawn(join(this.#bin, "postgres"), ["-D", this.#data, ...settings], {
      ...this.#as,
      cwd: this.#folder,
      stdio: "ignore",
    });
    const socket = join(this.#folder, ".s.PGSQL.5432");
    await waitFor("PostgreSQL takes connections", async () => {
      if (!existsSync(socket)) return false;
      const asked = await run(join(this.#bin, "pg_isready"), ["-h", this.#folder, "-q"]).catch(
        () => undefined,
      );
      return asked !== undefined;
    });
  }

  /** @param signal SIGINT ends connections and closes; SIGQUIT is a crash */
  async stopServer(signal: NodeJS.Signals = "SIGINT"): Promise<void> {
    const server = this.#server;
    if (!server || server.exitCode !== null) return;
    const ended = once(server, "exit");
    server.kill(signal);
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopServer("SIGQUIT");
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
