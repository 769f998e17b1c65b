import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { commandFaults, isSetting } from "../support/told-commands.ts";

/* The files that start processes of a fleet: what they start exists, with its options and settings, and they fit together. */

const ROOT = join(import.meta.dirname, "../..");
const read = (path: string) => readFileSync(join(ROOT, path), "utf8");

interface Service {
  build?: string;
  command?: string | string[];
  environment?: Record<string, string>;
  volumes?: string[];
  stop_grace_period?: string;
  healthcheck?: { test: string[] };
  depends_on?: Record<string, { condition: string }>;
}
interface Compose {
  services: Record<string, Service>;
  volumes: Record<string, null>;
}

const compose = (path: string) => parse(read(path), { merge: true, strict: true }) as Compose;
const UNITS = readdirSync(join(ROOT, "deploy/systemd")).map((name) => `deploy/systemd/${name}`);

/** The settings that a file names, those of comments too. */
function unknownSettings(path: string): string[] {
  const names = [...read(path).matchAll(/\bGLUELLM_([A-Z][A-Z0-9_]*[A-Z0-9])\b/g)].map(
    ([, name = ""]) => name,
  );
  return names.filter((name) => !isSetting(name));
}

/** The commands in a file's comments: what follows `gluellm`, or the service or image that is one. */
function commentedCommands(path: string): string[] {
  const lines = read(path)
    .split("\n")
    .filter((line) => line.startsWith("#") || line.trim().startsWith("# "));
  return lines.flatMap((line) => {
    const words = /(?:\bgluellm|compose run --rm \w+) ((?:worker|keys|api|dashboard) ?.*)$/.exec(line)?.[1];
    return words ? [words] : [];
  });
}

describe.each(["docker-compose.yml", "starter/compose.yaml"])("%s", (path) => {
  const { services, volumes } = compose(path);
  const own = Object.entries(services).filter(([, { build }]) => build !== undefined);

  test("its commands, options and settings exist", async () => {
    expect(own.length).toBeGreaterThanOrEqual(3);
    const started = own.map(([, { command = "" }]) => [command].flat().join(" "));
    expect(await commandFaults([...started, ...commentedCommands(path)])).toEqual([]);
    expect(unknownSettings(path)).toEqual([]);
  });

  test("its services, volumes and conditions fit together, and a drain has its time", () => {
    for (const [name, service] of Object.entries(services)) {
      for (const volume of service.volumes ?? [])
        expect(volumes, name).toHaveProperty(volume.split(":")[0] ?? "");
      for (const other of Object.keys(service.depends_on ?? {}))
        expect(services[other]?.healthcheck?.test[0], `${name}: ${other}`).toBe("CMD");
    }
    for (const [name, { stop_grace_period: grace = "" }] of own)
      expect(Number.parseInt(grace, 10), name).toBeGreaterThan(30);
  });
});

test("the compose file has a service for all that a fleet needs, with a worker for each of two providers", () => {
  const { services } = compose("docker-compose.yml");
  expect(Object.keys(services)).toEqual([
    ...["redis", "database", "worker", "worker-openai", "worker-anthropic", "api", "dashboard"],
  ]);
  expect(services["worker-openai"]?.command).toEqual(["worker", "--queue", "completions.openai.*"]);
  for (const name of ["worker", "api", "dashboard"])
    expect(services[name]?.environment?.GLUELLM_DATABASE_URL).toContain("@database/gluellm");
});

test("the Procfile's commands exist", async () => {
  const commands = read("Procfile")
    .trim()
    .split("\n")
    .map((line) => /^\w+: node bin\/gluellm\.js (.+)$/.exec(line)?.[1] ?? line);
  expect(await commandFaults(commands)).toEqual([]);
});

describe("the Dockerfile", () => {
  const lines = read("Dockerfile").replaceAll("\\\n", " ").split("\n");
  const given = (word: string) =>
    lines.filter((line) => line.startsWith(`${word} `)).map((line) => line.slice(word.length + 1));

  test("copies what is there and what the build may see", () => {
    const visible = read(".dockerignore")
      .split("\n")
      .filter((line) => line.startsWith("!"))
      .map((line) => line.slice(1));
    const sources = given("COPY")
      .filter((copy) => !copy.startsWith("--from"))
      .flatMap((copy) => copy.split(/\s+/).slice(0, -1));
    for (const source of sources) {
      expect(existsSync(join(ROOT, source)), source).toBe(true);
      expect(visible).toContain(source);
    }
  });

  test("starts a command that exists, not as root, and tells its health", async () => {
    expect(given("ENTRYPOINT")).toEqual(['["gluellm"]']);
    const commands = given("CMD").map((cmd) => (JSON.parse(cmd) as string[]).join(" "));
    expect(await commandFaults([...commands, ...commentedCommands("Dockerfile")])).toEqual([]);
    expect(given("USER")).toEqual(["node"]);
    expect(given("HEALTHCHECK")[0]).toContain('"$HEALTH_URL"');
    expect(unknownSettings("Dockerfile")).toEqual([]);
  });
});

describe("the units of systemd", () => {
  const services = UNITS.filter((path) => path.endsWith(".service"));

  test("start commands that exist, and give a drain its time", async () => {
    expect(services).toHaveLength(4);
    for (const path of services) {
      const [, words = ""] = /^ExecStart=\/usr\/bin\/env gluellm (.+)$/m.exec(read(path)) ?? [];
      expect(await commandFaults([words, ...commentedCommands(path)]), path).toEqual([]);
      expect(unknownSettings(path), path).toEqual([]);
      const seconds = Number(/^TimeoutStopSec=(\d+)$/m.exec(read(path))?.[1]);
      expect(seconds, path).toBeGreaterThan(/gluellm (worker|api)/.test(words) ? 30 : 10);
    }
  });

  test("systemd takes them", (context) => {
    if (spawnSync("systemd-analyze", ["--version"]).error) context.skip("systemd is not installed");
    // A template is checked as one of its instances.
    const names = services.map((path) => path.replace("@.", "@openai."));
    const said = spawnSync(
      "systemd-analyze",
      ["verify", "--man=no", ...names, "deploy/systemd/gluellm.target"],
      {
        cwd: ROOT,
        encoding: "utf8",
      },
    );
    // It speaks of the machine's own units too.
    expect(said.stderr.split("\n").filter((line) => line.includes("gluellm"))).toEqual([]);
    expect(said.status).toBe(0);
  });
});

interface Job {
  needs?: string | string[];
  "timeout-minutes"?: number;
  permissions?: Record<string, string>;
  steps: { run?: string; uses?: string }[];
}

describe.each([
  { path: ".github/workflows/ci.yml", project: "package.json" },
  { path: "deploy/github-actions.yml", project: "starter/package.json" },
])("the workflow $path", ({ path, project }) => {
  const workflow = parse(read(path), { strict: true }) as {
    on: object;
    permissions: Record<string, string>;
    jobs: Record<string, Job>;
  };
  const jobs = Object.entries(workflow.jobs);
  const lines = jobs.flatMap(([, { steps }]) => steps).flatMap(({ run = "" }) => run.split("\n"));

  test("jobs may no more than they need, end in time, and follow jobs that exist", () => {
    expect(workflow.permissions).toEqual({ contents: "read" });
    for (const [name, job] of jobs) {
      expect(job["timeout-minutes"], name).toBeGreaterThan(0);
      for (const other of [job.needs ?? []].flat()) expect(workflow.jobs).toHaveProperty(other);
      for (const { uses, run } of job.steps) expect([uses, run].filter(Boolean), name).toHaveLength(1);
      for (const { uses } of job.steps) if (uses) expect(uses).toMatch(/^actions\/[\w-]+@v\d+$/);
    }
  });

  test("its scripts, tools and commands exist", async () => {
    const { scripts } = JSON.parse(read(project)) as { scripts: Record<string, string> };
    const named = (pattern: RegExp) =>
      lines.map((line) => pattern.exec(line)?.[1]).filter((found) => found !== undefined);
    for (const script of named(/^npm (?:run )?(?!ci|audit|sbom|publish)([\w:-]+)/))
      expect(scripts).toHaveProperty([script]);
    for (const tool of named(/^node (\S+\.ts)$/)) expect(existsSync(join(ROOT, tool)), tool).toBe(true);
    expect(await commandFaults(named(/\bnpx gluellm (.+)$/))).toEqual([]);
    expect(unknownSettings(path)).toEqual([]);
  });
});

test("the project's workflow publishes a tag with provenance, once all else has passed", () => {
  const { jobs } = parse(read(".github/workflows/ci.yml")) as { jobs: Record<string, Job> };
  const { publish } = jobs;
  expect(publish?.needs).toEqual(Object.keys(jobs).filter((name) => name !== "publish"));
  expect(publish?.permissions?.["id-token"]).toBe("write");
  expect(publish?.steps.map(({ run }) => run)).toContain("npm publish --provenance --access public");
});
