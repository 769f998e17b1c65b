import { accessSync, chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { expect, test } from "vitest";
import { installWithApt } from "../../src/embedded-redis/apt-install.ts";
import { findServer } from "../../src/embedded-redis/find-server.ts";
import { findCachedServer } from "../../src/embedded-redis/server-cache.ts";
import { temporaryFolder } from "../support/redis-folders.ts";
import { testSystem } from "../support/system.ts";

function onPath(name: string): string | undefined {
  return (process.env.PATH ?? "")
    .split(delimiter)
    .map((folder) => join(folder, name))
    .find((path) => {
      try {
        accessSync(path);
        return true;
      } catch {
        return false;
      }
    });
}

const bare = (searchPath: string) => ({
  system: testSystem({ searchPath, cacheDir: join(temporaryFolder(), "cache") }),
  fallbackCacheDir: join(temporaryFolder(), "fallback"),
});

test("without Redis and without apt it says how to get one", async () => {
  await expect(findServer(bare(""))).rejects.toMatchObject({
    code: "redis_unavailable",
    category: "configuration",
    hint: expect.stringMatching(/brew install redis|docker run/),
  });
});

test("a server that is too old, or does not run, is not used, and named", async () => {
  const folder = temporaryFolder();
  for (const [name, script] of [
    ["redis-server", "#!/bin/sh\necho Redis server v=5.0.14 sha=0\n"],
    ["valkey-server", "#!/nonexistent\n"],
  ] as const) {
    writeFileSync(join(folder, name), script);
    chmodSync(join(folder, name), 0o755);
  }
  await expect(findServer(bare(folder))).rejects.toMatchObject({
    message: expect.stringMatching(
      /redis-server is version 5\.0\.14, older than .*valkey-server does not run/,
    ),
  });
});

const aptGet = onPath("apt-get");
const dpkgDeb = onPath("dpkg-deb");
const noApt = aptGet && dpkgDeb ? "" : " (skipped: this system has no apt-get)";

test.skipIf(noApt !== "")(
  `apt downloads a server into the cache without touching the system${noApt}`,
  async () => {
    const unwritable = join(temporaryFolder(), "file");
    writeFileSync(unwritable, "");
    const cacheDir = join(temporaryFolder(), "cache with a space");
    mkdirSync(cacheDir);
    const options = {
      ...testSystem(),
      aptGet: aptGet ?? "",
      dpkgDeb: dpkgDeb ?? "",
      cacheDirs: [join(unwritable, "cache"), cacheDir],
    };
    const [server, sameTime] = await Promise.all([installWithApt(options), installWithApt(options)]);
    expect(server.path.startsWith(cacheDir)).toBe(true);
    expect(server.version).toMatch(/^\d+\.\d+\.\d+$/);
    expect(sameTime).toEqual(server);
    expect(await findCachedServer(cacheDir)).toEqual(server);
  },
);
