import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/*
 * The licences of what a user installs, optional packages included. `node tools/licences.ts` lists them, and fails when one is not
 * among those that a product under MIT may be delivered with.
 */

const ROOT = join(import.meta.dirname, "..");

/** By their SPDX names. None of them asks anything of the program that uses the package, but that its notice is kept. */
const ALLOWED: readonly string[] = [
  ...["MIT", "MIT-0", "ISC", "0BSD", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "BlueOak-1.0.0"],
  ...["CC0-1.0", "Unlicense"],
];

interface Package {
  /** The path within node_modules. */
  name: string;
  version: string;
  /** An SPDX expression; `unknown` when the package tells none. */
  licence: string;
}

interface Locked {
  version: string;
  license?: string;
  dev?: boolean;
}

/** Returns the packages that are not for development alone. */
export function productionPackages(): Package[] {
  const { packages } = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8")) as {
    packages: Record<string, Locked>;
  };
  return Object.entries(packages)
    .filter(([path, { dev }]) => path !== "" && !dev)
    .map(([path, { version, license }]) => {
      const name = path.replace(/^.*node_modules\//, "");
      return { name, version, licence: license ?? olderForm(path) };
    });
}

/** Old packages tell a list of licences, which the lock file leaves out. */
function olderForm(path: string): string {
  const file = join(ROOT, path, "package.json");
  if (!existsSync(file)) return "unknown";
  const { licenses = [] } = JSON.parse(readFileSync(file, "utf8")) as { licenses?: { type: string }[] };
  return licenses.map(({ type }) => type).join(" OR ") || "unknown";
}

/** Whether an SPDX expression lets us choose licences that are allowed, such as `MIT OR GPL-3.0`. */
export function isAllowed(licence: string): boolean {
  const choices = licence.replaceAll(/[()]/g, "").split(" OR ");
  return choices.some((choice) => choice.split(" AND ").every((one) => ALLOWED.includes(one.trim())));
}

if (import.meta.main) {
  const packages = productionPackages();
  const byLicence = Map.groupBy(packages, ({ licence }) => licence);
  for (const [licence, those] of [...byLicence].sort(([, a], [, b]) => b.length - a.length)) {
    const names = those.map(({ name, version }) => `${name}@${version}`);
    process.stdout.write(`${licence} (${those.length}): ${names.join(", ")}\n\n`);
  }
  const refused = packages.filter(({ licence }) => !isAllowed(licence));
  for (const { name, licence } of refused)
    process.stderr.write(
      `${name}: ${licence} is not allowed: take another package, or add it to tools/licences.ts\n`,
    );
  process.exitCode = refused.length > 0 ? 1 : 0;
}
