import { execFile } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface AptOptions {
  aptGet: string;
  searchPath: string;
  proxyVariables?: Readonly<Record<string, string>>;
}

/** Runs one `apt-get` command; resolves with apt's complaint, or with nothing when it succeeded. */
export type Apt = (...args: string[]) => Promise<string | undefined>;

/**
 * Returns an apt that needs no root: it has state, lists and archives of its own in `workDir`, but the system's
 * sources, keys, proxy and list of installed packages.
 */
export function privateApt({ aptGet, searchPath, proxyVariables }: AptOptions, workDir: string): Apt {
  for (const folder of ["lists/partial", "archives/partial"]) {
    mkdirSync(join(workDir, folder), { recursive: true });
  }
  const configuration = join(workDir, "apt.conf");
  writeFileSync(configuration, configurationFor(workDir));
  const env = { ...proxyVariables, PATH: searchPath, LC_ALL: "C", DEBIAN_FRONTEND: "noninteractive" };
  return async (...args) => {
    try {
      await run(aptGet, ["-c", configuration, ...args], {
        env,
        timeout: 180_000,
        maxBuffer: 16 * 1024 * 1024,
      });
      return undefined;
    } catch (error) {
      const { stderr = "", message } = error as { stderr?: string; message: string };
      const complaints = stderr.split("\n").filter((line) => line.startsWith("E:"));
      return complaints.join(" ") || message.split("\n")[0];
    }
  };
}

/** Returns the folder in which `install --download-only` puts the packages. */
export function archiveFolder(workDir: string): string {
  return join(workDir, "archives");
}

/**
 * Returns the configuration, which is read after the system's own and so wins over it. The hooks that it clears would
 * tell desktop services of this private run, or empty the archive folder (as in container images).
 */
function configurationFor(workDir: string): string {
  return `Dir::State ${quote(workDir)};
Dir::State::lists ${quote(join(workDir, "lists"))};
Dir::State::status "/var/lib/dpkg/status";
Dir::State::extended_states ${quote(join(workDir, "extended_states"))};
Dir::Cache ${quote(workDir)};
Dir::Cache::archives ${quote(archiveFolder(workDir))};
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Log ${quote(workDir)};
Debug::NoLocking "true";
APT::Sandbox::User "";
APT::Install-Recommends "false";
APT::Install-Suggests "false";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
${CLEARED.map((name) => `#clear ${name};`).join("\n")}
`;
}

const CLEARED = [
  "Acquire::IndexTargets::deb::Contents-deb",
  "Acquire::IndexTargets::deb::DEP-11",
  "Acquire::IndexTargets::deb::DEP-11-icons",
  "Acquire::IndexTargets::deb::DEP-11-icons-small",
  "Acquire::IndexTargets::deb::DEP-11-icons-large",
  "Acquire::IndexTargets::deb::DEP-11-icons-hidpi",
  "Acquire::IndexTargets::deb::DEP-11-icons-large-hidpi",
  "APT::Update::Pre-Invoke",
  "APT::Update::Post-Invoke",
  "APT::Update::Post-Invoke-Success",
  "DPkg::Pre-Invoke",
  "DPkg::Pre-Install-Pkgs",
  "DPkg::Post-Invoke",
];

/** Returns a value between quotes; apt has no escape for a quote inside it. */
function quote(path: string): string {
  if (/["\n]/.test(path)) throw new Error(`${path} holds a character that apt cannot take`);
  return `"${path}"`;
}
