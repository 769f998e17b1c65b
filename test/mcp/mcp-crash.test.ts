import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, inject, onTestFinished, test } from "vitest";
import { loadSettings } from "../../src/shared/settings.ts";
import { calling, noServers, rawServer, serversOf, traceOf, writeMcpFile } from "../support/mcp-site.ts";
import { startNode } from "../support/processes.ts";
import { sampleOf } from "../support/sample.ts";
import { SHORT_LOCKS, TestSite } from "../support/site.ts";
import { siteClient } from "../support/site-client.ts";
import { waitFor } from "../support/wait-for.ts";

const KILLED_WORKER = join(import.meta.dirname, "../support/killed-mcp-worker.ts");

/** The boundaries of a job that calls `echo`, which may be repeated, then `write`, which may not, and then answers. */
const BOUNDARIES: {
  name: string;
  at: string;
  mode?: string;
  echo?: string;
  write?: string;
  echoes?: number;
}[] = [
  { name: "while-it-lists", at: "list", mode: "hangs-at-first-list" },
  { name: "listed", at: "1" },
  { name: "before-echo", at: "2" },
  // The job goes on with the tools that it began with, and the server has them no more.
  { name: "renamed", at: "2", mode: "renamed-later", echo: "tool_failed", write: "tool_failed" },
  { name: "while-it-echoes", at: "call echo", mode: "hangs-once", echoes: 2 },
  { name: "echoed", at: "3" },
  { name: "before-write", at: "4" },
  { name: "write-begins", at: "5", write: "outcome_unknown" },
  { name: "while-it-writes", at: "call write", mode: "hangs-at-first-write", write: "outcome_unknown" },
  { name: "written", at: "6" },
  { name: "answered", at: "7" },
];

async function openSite(): Promise<TestSite> {
  const site = await TestSite.open({}, SHORT_LOCKS);
  onTestFinished(() => site[Symbol.asyncDispose]());
  return site;
}

test("a worker killed at any boundary of calls of MCP tools: nothing is paid or written twice, and no server is left", {
  tags: "long",
}, async () => {
  const site = await openSite();
  const glue = siteClient(site);
  const chosen = sampleOf("boundaries of calls of MCP tools", BOUNDARIES, 1);
  const servers = Object.fromEntries(
    // Some servers do not end with their standard input.
    chosen.map(({ name, mode = "stubborn" }) => [name, rawServer(site, mode, name)]),
  );
  const file = writeMcpFile(site, servers);
  const handles = await Promise.all(
    chosen.map(({ name }) =>
      glue.enqueue(calling(name, ["echo", { text: "a" }], ["write", { text: "b" }]), {
        model: `simulator:${name}`,
        tools: [name],
      }),
    ),
  );
  await Promise.all(
    chosen.map(async ({ name, at }) => {
      const args = [KILLED_WORKER, `completions.simulator.${name}`, file, at, site.path(`${name}.trace`)];
      const { exit, stderr } = startNode(args, { env: site.env, cwd: site.folder });
      expect(await exit, stderr()).toBe("SIGKILL");
    }),
  );
  const worker = site.start("worker", "--mcp", file);
  const results = await Promise.all(handles.map((handle) => handle.result()));
  for (const [i, { name, echo = "echo: a", write = "write: b", echoes = 1 }] of chosen.entries()) {
    const outcomes = results[i]?.toolExecutionHistory.map(({ result, error }) => result ?? error?.code);
    expect(outcomes, name).toEqual([echo, write]);
    const calls = traceOf(site, name).filter((line) => line.startsWith("call"));
    expect(
      calls.filter((line) => line === "call echo a"),
      name,
    ).toHaveLength(echoes);
    expect(calls.filter((line) => line === "call write b").length, name).toBeLessThanOrEqual(1);
  }
  const offered = site.simulator.journal.entries().map(({ toolNames }) => toolNames.join(" "));
  expect(new Set(offered)).toEqual(new Set(["echo write"]));
  // Three answers of each job, each paid once, or lost with the worker that got it.
  const hashes = site.simulator.journal.entries().map(({ contentHash }) => contentHash);
  expect(new Set(hashes).size).toBe(hashes.length);
  worker.child.kill("SIGTERM");
  expect(await worker.exit).toBe(143);
  await noServers(site);
});

test.skipIf(!inject("isFull"))(
  "the next worker of the machine ends the servers of one that was killed, with what they have started",
  async () => {
    const site = await openSite();
    const file = writeMcpFile(site, {
      parents: rawServer(site, "grandchildren"),
      stubborn: rawServer(site, "stubborn"),
    });
    const killed = site.start("worker", "--mcp", file);
    const glue = siteClient(site);
    const names = ["parents", "stubborn"];
    await Promise.all(names.map((name) => glue.complete(calling(name, ["echo"]), { tools: [name] })));
    expect(serversOf(site)).toHaveLength(4);
    killed.child.kill("SIGKILL");
    await killed.exit;
    const stranger = startNode(["-e", "setInterval(() => {}, 1000)", "server-filesystem"], {
      env: { SITE_FOLDER: site.folder },
    });
    const isThere = () => serversOf(site).includes(stranger.child.pid as number);
    await waitFor("a process that is nobody's server", isThere);
    // Two of them do not end with their standard input.
    expect(serversOf(site).length).toBeGreaterThan(1);
    site.start("worker", "--mcp", file);
    await waitFor("the end of the servers", () => serversOf(site).length === 1);
    expect(serversOf(site)).toEqual([stranger.child.pid]);
    const records = join(loadSettings({ env: site.env, cwd: site.folder }).dataDir, "mcp");
    expect(existsSync(records) ? readdirSync(records) : []).toEqual([]);
  },
);
