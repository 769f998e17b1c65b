import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { Agent, defineTool, type GlueLLM, InputError } from "../../src/index.ts";
import { storeOf } from "../../src/store/store.ts";
import { testRedis, testRing } from "../support/redis.ts";
import { TestSite } from "../support/site.ts";
import { openClient } from "../support/site-client.ts";
import { waitFor } from "../support/wait-for.ts";

const refunds: number[] = [];
const refund = defineTool({
  name: "refund",
  description: "Pays money back.",
  parameters: z.object({ usd: z.number() }),
  needsApproval: ({ usd }) => usd > 10,
  execute: ({ usd }) => {
    refunds.push(usd);
    return `refunded ${usd}`;
  },
});
const impatient = (onApprovalTimeout: "reject" | "approve" | "fail") =>
  defineTool({
    name: `${onApprovalTimeout}_late`,
    description: "Waits for nobody long.",
    parameters: z.object({}),
    needsApproval: true,
    approvalTimeoutMs: 300,
    onApprovalTimeout,
    execute: () => "ran",
  });
const late = [impatient("reject"), impatient("approve"), impatient("fail")];
const redis = testRedis();
let site: TestSite;
let glue: GlueLLM;

beforeAll(async () => {
  site = await TestSite.open();
  glue = openClient(site, { mode: "local", tools: [refund, ...late] });
});
afterAll(async () => {
  await glue.close();
  await site[Symbol.asyncDispose]();
  redis.disconnect();
});

const call = (name: string, args: object = {}) => ({ name, arguments: args });
const script = (turns: object[]) => `#sim ${JSON.stringify({ turns })}`;
const asking = (...usd: number[]) =>
  script([{ toolCalls: usd.map((one) => call("refund", { usd: one })) }, { reply: "done" }]);
const suspended = (handle: { status(): Promise<{ state: string }>; id: string }) =>
  waitFor("the job to sleep", async () => (await handle.status()).state === "suspended");

test("a call that needs a person suspends its job, which holds nothing; the others of the answer are run", async () => {
  const handle = await glue.enqueue(`Money back.\n${asking(5, 50)}`);
  await suspended(handle);
  const store = storeOf(redis, site.namespace, testRing());
  expect(refunds).toEqual([5]);
  expect(await handle.status()).toEqual({ state: "suspended", waitsFor: ["a person's answer on refund"] });
  const [approval, ...others] = await handle.approvals();
  expect(others).toEqual([]);
  expect(approval).toMatchObject({ toolName: "refund", arguments: { usd: 50 } });
  expect(await glue.approvals()).toEqual([{ jobId: handle.id, ...approval }]);
  expect(await redis.keys(`${store.keys.prefix}:*:${handle.id}:lock`)).toEqual([]);
  await handle.approve(approval?.callId ?? "", { by: "ada" });
  const { finalResponse, toolExecutionHistory } = await handle.result();
  expect(finalResponse).toBe("done");
  expect(toolExecutionHistory).toMatchObject([
    { result: "refunded 5" },
    { result: "refunded 50", approval: { approved: true, by: "ada" } },
  ]);
  expect(toolExecutionHistory[0]).not.toHaveProperty("approval");
  expect(await glue.approvals()).toEqual([]);
  await waitFor("its waits to be forgotten", async () => !(await redis.exists(store.keys.waits(handle.id))));
});

test("a rejection and its reason reach the model; the first answer stays, and unknown calls are refused", async () => {
  const handle = await glue.enqueue(`No money back.\n${asking(60, 70)}`);
  await suspended(handle);
  const [first, second] = await handle.approvals();
  await handle.reject(first?.callId ?? "", "too much");
  await handle.reject(first?.callId ?? "", "too much");
  await expect(handle.approve(first?.callId ?? "")).rejects.toMatchObject({ code: "approval_decided" });
  await expect(handle.approve("call_none")).rejects.toBeInstanceOf(InputError);
  await suspended(handle);
  await handle.approve(second?.callId ?? "");
  const { toolExecutionHistory } = await handle.result();
  expect(toolExecutionHistory).toMatchObject([
    { error: { code: "rejected", message: "a person did not allow this call: too much" } },
    { result: "refunded 70" },
  ]);
  const asked = site.simulator.journal
    .entries()
    .filter(({ lastUserText }) => lastUserText.startsWith("No money"));
  expect(asked).toHaveLength(2);
});

test("when nobody answers in time the tool says what follows", async () => {
  const ask = (name: string) =>
    glue.complete(`late ${name}\n${script([{ toolCalls: [call(name)] }, { reply: "done" }])}`);
  const [rejected, approved, failed] = await Promise.allSettled(late.map(({ name }) => ask(name)));
  expect(rejected).toMatchObject({
    value: { toolExecutionHistory: [{ error: { code: "rejected" }, approval: { by: "timeout" } }] },
  });
  expect(approved).toMatchObject({ value: { toolExecutionHistory: [{ result: "ran" }] } });
  expect(failed).toMatchObject({ reason: { code: "approval_timeout" } });
});

test("time in which a person has the word does not count towards the deadline", async () => {
  const handle = await glue.enqueue(`slow\n${asking(80)}`, { deadlineMs: 3000 });
  await suspended(handle);
  const [approval] = await handle.approvals();
  await new Promise((resolve) => setTimeout(resolve, 3200));
  await handle.approve(approval?.callId ?? "");
  expect((await handle.result()).finalResponse).toBe("done");
});

test("a suspended job can be cancelled, with the jobs that it waits for", async () => {
  const clerk = new Agent({ name: "clerk", description: "Pays.", systemPrompt: "Pay.", tools: [refund] });
  const inner = asking(90);
  const outer = script([{ toolCalls: [call("clerk", { input: `inner\n${inner}` })] }, { reply: "over" }]);
  const handle = await glue.enqueue(`outer\n${outer}`, { tools: [clerk.asTool()] });
  await waitFor("somebody to be asked", async () => (await glue.approvals()).length === 1);
  const [listed] = await glue.approvals();
  expect(listed?.jobId).not.toBe(handle.id);
  expect(listed?.agent).toBe("clerk");
  expect(await handle.status()).toMatchObject({ state: "suspended", waitsFor: ["1 job of other agents"] });
  expect(await handle.cancel()).toBe(true);
  expect((await glue.handle(listed?.jobId ?? "").status()).state).toBe("cancelled");
  expect(await glue.approvals()).toEqual([]);
  expect(refunds).not.toContain(90);
});
