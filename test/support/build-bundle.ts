import { createHash } from "node:crypto";
import {
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build, type Plugin } from "rolldown";
import { withoutEnding } from "./bundled.ts";

const ROOT = join(import.meta.dirname, "../..");
const BUILDS = join(ROOT, "node_modules/.cache/gluellm-bundle");
/** What processes of tests are started with and load; code that a test writes can import the last two. */
const ENTRIES = [
  "src/cli/main.ts",
  "test/support/*-{agents,activities,consumer,module,process,redis,retriever,rewards,rollout,starter,steps,ticker,tools,worker,workflow,workflows}.ts",
  "test/support/{agents,tools}.ts",
  "test/{batch/files-child,chaos/module}.ts",
  "src/index.ts",
  "node_modules/zod/index.js",
];
/** All others are loaded as they are. */
const BUNDLED = new Set([
  ...["@anthropic-ai/sdk", "@opentelemetry/api", "ajv", "bottleneck", "bullmq", "commander", "ioredis"],
  ...["lru-cache", "openai", "pino", "undici", "zod", "zod-openapi"],
]);
/** Finds its native code beside itself. */
const NATIVE = "msgpackr";
const PACKAGE = /^(@[^/]+\/)?[^./\0][^/]*/;
const OLD_MS = 86_400_000;

/**
 * Returns the folder of a bundle of the command and of what tests load into processes, in a few files instead of a thousand:
 * hundreds of processes start in half the time. It is built anew when a source has changed.
 */
export async function buildBundle(): Promise<string> {
  const folder = join(BUILDS, sourceDigest());
  if (existsSync(folder)) return folder;
  mkdirSync(BUILDS, { recursive: true });
  for (const name of readdirSync(BUILDS)) {
    const path = join(BUILDS, name);
    if (statSync(path).mtimeMs < Date.now() - OLD_MS) rmSync(path, { recursive: true, force: true });
  }
  const entries = globSync(ENTRIES, { cwd: ROOT }).map((path) => [withoutEnding(path), join(ROOT, path)]);
  const draft = mkdtempSync(`${folder}-`);
  await build({
    input: Object.fromEntries(entries),
    platform: "node",
    logLevel: "silent",
    plugins: [asInSource, unbundled],
    output: {
      dir: draft,
      comments: false,
      entryFileNames: "[name].mjs",
      chunkFileNames: "[name]-[hash].mjs",
      minify: { compress: false, mangle: false, codegen: { removeWhitespace: true } },
    },
  });
  // Whoever was first has made the same.
  if (existsSync(folder)) rmSync(draft, { recursive: true });
  else renameSync(draft, folder);
  return folder;
}

function sourceDigest(): string {
  // The bundle names files by their paths: a copy of the folder builds its own.
  const hash = createHash("sha256").update(ROOT);
  const sources = globSync(["src/**/*.ts", "dashboards/*.ts", "test/{support,batch,chaos}/*.ts"], {
    cwd: ROOT,
  });
  for (const path of ["package-lock.json", ...sources.sort()]) {
    hash.update(path).update(readFileSync(join(ROOT, path)));
  }
  return hash.digest("hex").slice(0, 16);
}

/** A module finds files beside its source, not beside the bundle. */
const asInSource: Plugin = {
  name: "as-in-source",
  transform(code, id) {
    if (id.includes("node_modules") || !code.includes("import.meta.")) return undefined;
    const places: Record<string, string> = {
      url: pathToFileURL(id).href,
      filename: id,
      dirname: join(id, ".."),
    };
    return code.replaceAll(/\bimport\.meta\.(url|filename|dirname)\b/g, (_, name) =>
      JSON.stringify(places[name]),
    );
  },
};

const unbundled: Plugin = {
  name: "unbundled",
  resolveId(id, importer) {
    const [name = ""] = PACKAGE.exec(id) ?? [];
    if (name === NATIVE) return { id, external: true };
    const isOwn = importer !== undefined && !importer.includes("node_modules");
    return isOwn && name !== "" && !BUNDLED.has(name) ? { id, external: true } : undefined;
  },
};
