import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import type { Command } from "commander";
import { packageFolder } from "../host/package-folder.ts";
import { writeNew } from "./new-file.ts";
import { jsonText, printable } from "./output.ts";
import { quoted } from "./own-command.ts";

/** Names under which npm would treat the files as its own. */
const DOT_FILES: Readonly<Record<string, string>> = {
  gitignore: ".gitignore",
  "env.example": ".env.example",
};

interface Made {
  folder: string;
  /** Paths within the folder. */
  written: string[];
  /** Those that were there already, and stay as they are. */
  kept: string[];
}

/** `gluellm init`: a project to begin with. */
export function addInitCommand(program: Command): void {
  program
    .command("init")
    .description(
      "Make a starter project: a tool, an agent, a workflow with its test, a batch, a compose file.",
    )
    .argument("[folder]", "where; files that are there stay as they are", ".")
    .option("--json", "what was written, as JSON")
    .action((folder: string, { json }: { json?: boolean }) => {
      const made = init(folder);
      process.stdout.write(`${json ? jsonText(made) : printable(text(made))}\n`);
    });
}

/** Writes the starter's files that are not there yet. @throws InputError for what cannot be written */
function init(folder: string): Made {
  const starter = join(packageFolder(), "starter");
  const made: Made = { folder, written: [], kept: [] };
  const files = readdirSync(starter, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  for (const entry of files) {
    const source = join(entry.parentPath, entry.name);
    const path = join(dirname(relative(starter, source)), DOT_FILES[entry.name] ?? entry.name);
    const content = path === "package.json" ? packageJson(source, folder) : readFileSync(source, "utf8");
    made[writeNew(join(folder, path), content) ? "written" : "kept"].push(path);
  }
  made.written.sort();
  made.kept.sort();
  return made;
}

/** The starter's, with the folder's name and the versions that this package was tested with. */
function packageJson(source: string, folder: string): string {
  const own = JSON.parse(readFileSync(join(packageFolder(), "package.json"), "utf8"));
  const made = JSON.parse(readFileSync(source, "utf8"));
  const versions: Record<string, string> = {
    ...own.devDependencies,
    ...own.dependencies,
    gluellm: own.version,
  };
  for (const kind of ["dependencies", "devDependencies"])
    for (const name of Object.keys(made[kind])) made[kind][name] = `^${versions[name]}`;
  made.dependencies.gluellm = fileInstalled(packageFolder(), folder) ?? made.dependencies.gluellm;
  const name = basename(resolve(folder))
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, "-")
    .replace(/^[._-]+/, "");
  return `${jsonText({ ...made, name: name || "gluellm-project" })}\n`;
}

/** Where the package was installed from a file of `npm pack`: that file, as the project in `folder` names it. */
export function fileInstalled(installed: string, folder: string): string | undefined {
  const modules = dirname(installed);
  try {
    const { packages } = JSON.parse(readFileSync(join(modules, ".package-lock.json"), "utf8"));
    const { resolved } = packages[`node_modules/${basename(installed)}`];
    if (!/^file:.*\.tgz$/.test(resolved)) return undefined;
    const packed = resolve(modules, "..", resolved.slice("file:".length));
    return `file:${relative(resolve(folder), packed).replaceAll("\\", "/")}`;
  } catch {
    // A checkout, or another package manager than npm: the version is what is known.
    return undefined;
  }
}

function text({ folder, written, kept }: Made): string {
  const lines = [
    ...written.map((path) => `+ ${join(folder, path)}`),
    ...kept.map((path) => `= ${join(folder, path)} (was there, and stays as it is)`),
  ];
  const enter = resolve(folder) === process.cwd() ? "" : `cd ${quoted(folder)} && `;
  return [...lines, "", `next: ${enter}npm install && npm test`].join("\n");
}
