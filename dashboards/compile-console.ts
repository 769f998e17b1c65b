import { execFile } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { sha256 } from "../src/shared/digest.ts";

/** The console's sources; in a published package what they were compiled to. */
const FOLDER = join(import.meta.dirname, "console");
const STYLES = "styles";

/**
 * Returns the folder with the console's modules for browsers. A published package has them; a checkout compiles them when its
 * sources have changed (about a third of a second), and keeps them beside the packages.
 * @throws Error when there is no compiler, or the sources do not compile
 */
export async function compiledConsole(): Promise<string> {
  if (existsSync(join(FOLDER, "main.js"))) return FOLDER;
  const cache = join(import.meta.dirname, "..", "node_modules", ".cache", "gluellm-console");
  const folder = join(cache, digestOf(FOLDER));
  if (existsSync(folder)) return folder;
  // Whoever is first gives the folder its name; two processes make the same.
  const making = `${folder}.${process.pid}`;
  await compileConsole(making);
  try {
    renameSync(making, folder);
  } catch (error) {
    rmSync(making, { recursive: true, force: true });
    if (!existsSync(folder)) throw error;
  }
  return folder;
}

/** Compiles the console into a folder. @throws as `compiledConsole` */
export async function compileConsole(folder: string, source = FOLDER): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const args = ["-p", source, "--outDir", folder, "--noEmit", "false", "--noCheck", "--checkers", "1"];
  try {
    await promisify(execFile)(process.execPath, [compiler(), ...args]);
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    const { stdout = "", message } = error as Error & { stdout?: string };
    throw new Error(`the console does not compile: ${stdout.trim() || message}`);
  }
  cpSync(join(source, STYLES), join(folder, STYLES), { recursive: true });
}

/** The compiler's script. @throws Error where only the packages of production are installed */
function compiler(): string {
  try {
    const path = createRequire(import.meta.url).resolve("typescript/package.json");
    const { bin } = JSON.parse(readFileSync(path, "utf8")) as { bin: { tsc: string } };
    return join(dirname(path), bin.tsc);
  } catch {
    throw new Error(
      "the console is not compiled, and TypeScript is not installed: run npm ci with its development packages, or npm run build:console before they are left out",
    );
  }
}

function digestOf(folder: string): string {
  const paths = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  return sha256(
    paths.map((path) => `${path.slice(folder.length)}\n${readFileSync(path, "utf8")}`).join("\n"),
  ).slice(0, 16);
}
