import { existsSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";

const ROOT = join(import.meta.dirname, "../..");
const CODE = /\.[cm]?[jt]s$/;

/**
 * Returns the bundle's file in place of a source, by its path from the root of the project. The source itself where
 * there is no bundle, or not of this one.
 */
export function bundled(path: string): string {
  const { GLUELLM_TEST_BUNDLE: folder } = process.env;
  const built = folder && join(folder, `${withoutEnding(path)}.mjs`);
  return built && existsSync(built) ? built : join(ROOT, path);
}

/**
 * Returns a program's arguments with the bundle's files in place of the sources. A module that is not in the bundle and
 * imports sources has to meet the same ones in the program: then all stay as they are.
 */
export function inBundle(args: readonly string[], cwd = ""): string[] {
  const isOfSources = (path: string) => existsSync(path) && readFileSync(path, "utf8").includes("/src/");
  const replaced = args.map((arg) => {
    if (!CODE.test(arg)) return arg;
    const path = resolve(cwd, arg);
    const built = bundled(relative(ROOT, path));
    return built !== path ? built : isOfSources(path) ? undefined : arg;
  });
  return replaced.includes(undefined) ? [...args] : (replaced as string[]);
}

export function withoutEnding(path: string): string {
  return path.replace(CODE, "");
}
