import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import type { Command } from "commander";
import { packageFolder } from "../host/package-folder.ts";
import { didYouMean, hintOf } from "../shared/did-you-mean.ts";
import { InputError } from "../shared/errors.ts";
import { writeNew } from "./new-file.ts";
import { table } from "./options.ts";
import { jsonText, printable } from "./output.ts";
import { quoted } from "./own-command.ts";

interface Example {
  name: string;
  /** One sentence. */
  about: string;
  /** As it is in the package. */
  text: string;
}

interface Options {
  to?: string;
  json?: boolean;
}

/** `gluellm examples`: the programs that the package has, to read, and to begin with. */
export function addExamplesCommand(program: Command): void {
  program
    .command("examples")
    .description("List the example programs, print one, or copy it with its parts.")
    .argument("[name]", "the one to print, such as basic-usage")
    .option("--to <folder>", "write it there in place of printing it; files that are there stay as they are")
    .option("--json", "as JSON")
    .action((name: string | undefined, options: Options) => {
      if (name !== undefined) return showOne(find(name), options);
      if (options.to !== undefined)
        throw new InputError("--to needs the name of an example", "gluellm examples lists them");
      const listed = readExamples().map(({ name: each, about }) => ({ name: each, about }));
      const shown = table([
        ["EXAMPLE", "WHAT IT SHOWS"],
        ...listed.map(({ name: each, about }) => [each, about]),
      ]);
      const next = "print one: gluellm examples NAME · copy it: gluellm examples NAME --to .";
      process.stdout.write(options.json ? `${jsonText(listed)}\n` : `${printable(shown)}\n\n${next}\n`);
    });
}

/** A file as it is in a project of one's own. */
interface OwnFile {
  path: string;
  text: string;
}

function showOne(example: Example, { to, json }: Options): void {
  const files = ownFiles(example, to ?? ".");
  if (to === undefined) print(example, files, json);
  else copy(example, files, json);
}

/** The text goes to standard output, what is told about it to standard error: `gluellm examples tools > tools.mts`. */
function print(example: Example, files: readonly OwnFile[], json = false): void {
  const [{ text } = { text: "" }, ...parts] = files;
  const run = howToRun(example, files);
  if (json) {
    printJson(example, { text, run });
    return;
  }
  const missing = parts.map(({ path }) => path).join(", ");
  process.stdout.write(text);
  tell(missing === "" ? run : [`It needs ${missing}: --to FOLDER writes all of it.`, ...run]);
}

function copy(example: Example, files: readonly OwnFile[], json = false): void {
  const [written, kept]: [string[], string[]] = [[], []];
  for (const { path, text } of files) (writeNew(path, text) ? written : kept).push(path);
  const run = howToRun(example, files);
  if (json) {
    printJson(example, { written, kept, run });
    return;
  }
  const lines = [
    ...written.map((path) => `+ ${path}`),
    ...kept.map((path) => `= ${path} (was there, and stays as it is)`),
  ];
  process.stdout.write(`${printable(lines.join("\n"))}\n`);
  tell(run);
}

function printJson({ name, about }: Example, more: object): void {
  process.stdout.write(`${jsonText({ name, about, ...more })}\n`);
}

function tell(lines: readonly string[]): void {
  process.stderr.write(`\n${printable(lines.join("\n"))}\n`);
}

/** The example, then its parts. */
function ownFiles({ name, text }: Example, folder: string): OwnFile[] {
  return [`${name}.ts`, ...partsOf(text)].map((file) => {
    const path = join(folder, ownName(file));
    return { path, text: asOwn(read(file), path) };
  });
}

/** Steps, each a line. */
function howToRun({ name, text }: Example, files: readonly OwnFile[]): string[] {
  const runner = text.includes('from "node:test"') ? "node --test" : "node";
  const api = text.includes("npx gluellm api")
    ? ["npx gluellm api            # in another shell; paste the line that it prints"]
    : [];
  return [
    "To run it, with Node.js 24:",
    `  npm install ${packagesOf(files).join(" ")}`,
    ...api.map((line) => `  ${line}`),
    `  ${runner} ${quoted(files[0]?.path ?? name)}`,
    "It asks the provider of GLUELLM_DEFAULT_MODEL, whose key is in the environment or in .env. Without a key, run `npx gluellm simulate`",
    "in another shell, and export SIMULATOR_BASE_URL=http://127.0.0.1:4010/v1 GLUELLM_DEFAULT_MODEL=simulator:any",
  ];
}

/** The packages that files import, in the versions that this package was tested with, and those that their heads say to install. */
function packagesOf(files: readonly OwnFile[]): string[] {
  const { dependencies, devDependencies } = JSON.parse(
    readFileSync(join(packageFolder(), "package.json"), "utf8"),
  );
  const versions: Record<string, string> = { ...devDependencies, ...dependencies };
  const all = files.map(({ text }) => text).join("\n");
  const imported = [...all.matchAll(/(?:from|resolve\() ?"((?:@[\w-]+\/)?[\w-]+)(?:\/[^"]*)?"/g)].map(
    ([, name = ""]) => name,
  );
  const named = [...all.matchAll(/npm install ([^`\n]+)`/g)].flatMap(([, names = ""]) => names.split(" "));
  const found = imported.filter((name) => name in versions).map((name) => `${name}@${versions[name]}`);
  return [...new Set(["gluellm", ...found, ...named])];
}

/** @throws InputError for a name that no example has */
function find(name: string): Example {
  const examples = readExamples();
  const found = examples.find((one) => one.name === name.replace(/\.m?ts$/, ""));
  if (found) return found;
  const names = examples.map((one) => one.name);
  throw new InputError(
    `there is no example ${name}`,
    hintOf(didYouMean(name, names), "gluellm examples lists them"),
  );
}

function readExamples(): Example[] {
  const folder = join(packageFolder(), "examples");
  if (!existsSync(folder))
    throw new InputError("this installation has no examples", "install the package: npm install gluellm");
  const names = readdirSync(folder)
    .filter((file) => file.endsWith(".ts"))
    .map((file) => file.slice(0, -".ts".length));
  return names.sort().map((name) => {
    const text = read(`${name}.ts`);
    return { name, about: aboutOf(text), text };
  });
}

function read(file: string): string {
  return readFileSync(join(packageFolder(), "examples", file), "utf8");
}

/** The first sentence of its head. */
function aboutOf(text: string): string {
  const head = /^\/\*\*([\s\S]*?)\*\//.exec(text)?.[1] ?? "";
  const words =
    head
      .replaceAll(/\n \* ?/g, "\n")
      .trim()
      .split("\n\n")[0]
      ?.replaceAll("\n", " ") ?? "";
  return (/^.+?[.:](?= [A-Z`]|$)/.exec(words)?.[0] ?? words).replace(/:$/, ".");
}

/** Files of examples/parts that an example names. */
function partsOf(text: string): string[] {
  return [...new Set([...text.matchAll(/"(?:\.\/)?(parts\/[\w.-]+)"/g)].map(([, path = ""]) => path))];
}

/** `npm init` makes projects of CommonJS, in which a module that says so is one all the same. */
function ownName(file: string): string {
  return file.replace(/\.ts$/, ".mts");
}

/** A file as it is in a project of one's own, at `path`: it imports the package, and finds the package's other files. */
function asOwn(text: string, path: string): string {
  const toPackage = relative(dirname(resolve(path)), packageFolder())
    .split(sep)
    .join("/");
  return text
    .replaceAll(/from "(?:\.\.\/)+src\/index\.ts"/g, 'from "gluellm"')
    .replaceAll(/from "(?:\.\.\/)+src\/testing\/index\.ts"/g, 'from "gluellm/testing"')
    .replaceAll(/"\.\/(parts\/[\w-]+\.ts)"/g, (_all, file: string) => `"./${ownName(file)}"`)
    .replaceAll(/"(?:\.\.\/)+(docs|bin\/gluellm\.js)"/g, (_all, file: string) => `"${toPackage}/${file}"`)
    .replaceAll(/(?<=node )examples\/[\w-]+\.ts/g, path)
    .replace(
      / (?:\* )?In your project:[\s*]+`from "gluellm"`(?: and `from "gluellm\/testing"`)?(?:\.|, and)/,
      "",
    );
}
