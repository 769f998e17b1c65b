import { expect, test } from "vitest";
import { article, workflows as children } from "../support/cli-workflows.ts";
import { openDashboard, send } from "../support/dashboard.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

interface BoardJob {
  name: string;
  data: Record<string, unknown>;
}
interface FlowNode {
  name: string;
  queueName: string;
  children: FlowNode[];
}

/** A board on a fleet of one test, and what it says of a job. */
async function openBoard() {
  const fleet = await workflowSite();
  const { url } = await openDashboard({ namespace: fleet.settings.namespace });
  async function read<T>(path: string): Promise<T | undefined> {
    const { status, text } = await send(`${url}/api/queues/${path}`);
    return status === 200 ? (JSON.parse(text) as T) : undefined;
  }
  const job = async (path: string) => (await read<{ job: BoardJob }>(path))?.job;
  return { ...fleet, read, job };
}

test("a run that no worker can take is shown with its state and the reason, and its job stays as it is", async () => {
  const { runs, job, queueOf } = await openBoard();
  const run = await runs.start(article, { topic: "secret tides" }, { runId: "lonely" });
  const shown = await waitFor("the board has the run", () => job("workflows.article/lonely"));
  expect(shown.name).toBe("article · running");
  expect(shown.data).toMatchObject({
    workflow: "article",
    run: "lonely",
    state: "running",
    waitsFor: 'a worker with workflow "article"',
  });
  expect(JSON.stringify(shown)).not.toContain("secret");
  await run.cancel();
  expect(await job("workflows.article/lonely")).toMatchObject({
    name: "article · cancelled",
    data: { state: "cancelled", error: expect.stringMatching(/^cancelled: /) },
  });
  expect((await queueOf("article").getJob("lonely"))?.data).toEqual({
    v: 1,
    kind: "workflow",
    workflow: "article",
    version: 1,
  });
});

test("a run's steps and child runs are its flow, and a step names its run", async () => {
  const { runs, read, job, work, settings } = await openBoard();
  await work(article, ...children);
  const run = await runs.start(article, { topic: "tides" }, { runId: "seen" });
  const steps = await waitFor("the calls", async () => {
    const all = await run.steps();
    return all.some(({ kind }) => kind === "signal") ? all : undefined;
  });
  const flow = await waitFor("the flow", async () => {
    const found = await read<{ flowRoot: FlowNode | null }>(
      "workflows.article/seen/flow?depth=10&maxChildren=50",
    );
    return found?.flowRoot?.children.length === 2 ? found.flowRoot : undefined;
  });
  const shape = ({ name, children }: FlowNode): unknown => [name, children.map(shape).sort()];
  expect(shape(flow)).toEqual([
    "article",
    [
      [
        "facts",
        [
          ["fact#2", []],
          ["fact", []],
        ],
      ],
      ["left/draft", []],
    ],
  ]);
  const draft = steps.find(({ step }) => step === "left/draft");
  const shown = await job(`${encodeURIComponent(settings.defaultModel)}/${draft?.job}`);
  expect(shown).toMatchObject({
    name: expect.stringMatching(/^left\/draft: plain tides/),
    data: { run: "seen", step: "left/draft" },
  });
  await run.cancel();
});
