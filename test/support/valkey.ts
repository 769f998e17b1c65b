import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { archiveFolder, privateApt } from "../../src/embedded-redis/apt.ts";
import { type ServerBinary, verifyServer } from "../../src/embedded-redis/server-binary.ts";
import { verifyUnpacked } from "../../src/embedded-redis/server-cache.ts";
import { runProcess } from "./processes.ts";
import { temporaryFolder } from "./redis-folders.ts";
import { testSystem } from "./system.ts";

/** Debian 12 has it among its backports alone. */
const BACKPORTS = "deb http://deb.debian.org/debian bookworm-backports main";

/** Returns a Valkey server: of the PATH, else of Debian's or Ubuntu's packages, unpacked for this test file; a text says why there is none. */
export async function findValkey(): Promise<ServerBinary | string> {
  const { searchPath, proxyVariables } = testSystem();
  const onPath = (name: string) =>
    searchPath
      .split(delimiter)
      .map((folder) => join(folder, name))
      .find(existsSync);
  const known = onPath("valkey-server");
  if (known) return verifyServer(known);
  const [aptGet, dpkgDeb] = [onPath("apt-get"), onPath("dpkg-deb")];
  if (!aptGet || !dpkgDeb) return "this system has neither valkey-server nor apt-get";
  const folder = temporaryFolder();
  const sources = join(folder, "sources.list");
  const own = existsSync("/etc/apt/sources.list") ? readFileSync("/etc/apt/sources.list", "utf8") : "";
  const isBookworm = /bookworm/.test(readFileSync("/etc/os-release", "utf8"));
  writeFileSync(sources, `${own}\n${isBookworm ? BACKPORTS : ""}\n`);
  const apt = privateApt({ aptGet, searchPath, proxyVariables }, folder);
  const from = ["-o", `Dir::Etc::sourcelist=${sources}`];
  const fault =
    (await apt(...from, "update")) ??
    (await apt(
      ...from,
      "install",
      "--yes",
      "--reinstall",
      "--download-only",
      "valkey-server",
      "valkey-tools",
    ));
  if (fault) return fault;
  const unpacked = temporaryFolder();
  const unpack = `for file in "$0"/*.deb; do ${dpkgDeb} --extract "$file" "$1"; done`;
  await runProcess("sh", ["-ec", unpack, archiveFolder(folder), unpacked]);
  return verifyUnpacked(unpacked);
}
