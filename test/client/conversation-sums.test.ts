import { expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { defineWorkflow, type WorkflowContext } from "../../src/index.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { errorBody, failureOf, goodBody } from "../support/provider.ts";
import { TestSite } from "../support/site.ts";
import { siteClient } from "../support/site-client.ts";
import { sendJson, wireServer } from "../support/wire-server.ts";

const ANY = { input: z.any(), output: z.any() };
const child = defineWorkflow({
  name: "guessed-child",
  ...ANY,
  run: async (ctx: WorkflowContext) => (await ctx.complete("ask", "guess")).finalResponse,
});
const parent = defineWorkflow({
  name: "guessed",
  ...ANY,
  run: (ctx: WorkflowContext) => ctx.child("child", child, {}),
});

/** A client of a server that reports no usage to a "guess", and refuses a parameter, or a message, that it is told to. */
async function openClient() {
  const asked: string[] = [];
  const wire = await wireServer((response, { body }) => {
    const { messages, temperature } = JSON.parse(body) as {
      messages: { content: string }[];
      temperature?: number;
    };
    asked.push(messages.map(({ content }) => content).join("|"));
    const refuse = (param: string) =>
      sendJson(
        response,
        errorBody("openai", { message: `bad ${param}`, type: "invalid_request_error", param }),
        400,
      );
    if (temperature === 2) return refuse("temperature");
    if (messages.some(({ content }) => content === "bad")) return refuse("messages[0].content");
    const { usage, ...rest } = goodBody("openai");
    return sendJson(response, messages.at(-1)?.content === "guess" ? rest : { ...rest, usage });
  });
  const entry = { baseUrl: `${wire.url}/v1`, keyOptional: true, models: ["*"] };
  const site = await TestSite.open({}, { GLUELLM_PROVIDERS: JSON.stringify({ wire: entry }) });
  onTestFinished(() => site[Symbol.asyncDispose]());
  const settings = loadSettings({ env: site.env, cwd: "/" });
  return {
    asked,
    glue: siteClient(site, { mode: "local", settings, model: "wire:m", workflows: [parent, child] }),
  };
}

test("sums that hold a guess say so, of conversations and of runs with their children", async () => {
  const { glue } = await openClient();
  const talk = glue.conversation();
  await talk.complete("hello");
  expect(await talk.usage()).not.toHaveProperty("estimated");
  await talk.complete("guess");
  expect(await talk.usage()).toMatchObject({ calls: 2, estimated: 1 });
  const run = await glue.workflows.start(parent, {});
  await run.result();
  expect(await run.status()).toMatchObject({ estimated: 1 });
  expect((await run.steps())[0]).toMatchObject({ tokensUsed: { estimated: true } });
});

test("a turn that is refused for a parameter stays; one that is refused for its message is left out", async () => {
  const { glue, asked } = await openClient();
  const talk = glue.conversation();
  expect(await failureOf(talk.complete("first", { temperature: 2 }))).toMatchObject({
    context: { parameter: "temperature" },
  });
  expect(await failureOf(talk.complete("bad"))).toMatchObject({ code: "invalid_request" });
  await talk.complete("second");
  expect(asked.at(-1)).toBe("first|second");
});
