import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { loadModules } from "../../src/host/load-modules.ts";
import {
  Agent,
  type AgentOptions,
  GenericAgent,
  RequestConfig,
  SimpleExecutor,
  SystemPrompt,
} from "../../src/index.ts";
import { add } from "../support/tools.ts";

const SUPPORT = join(import.meta.dirname, "../support");
const AGENT = { name: "helper", description: "Helps.", systemPrompt: "Help." };

describe("a system prompt", () => {
  const tools = [{ name: "a", description: `<b> & "c"` }, { name: "by_name" }];

  test("names the tools in XML, escaped, and leaves their part out when there are none", () => {
    const prompt = new SystemPrompt({ instructions: "Be <em>brief</em>." });
    expect(prompt.format()).toBe("<instructions>\nBe <em>brief</em>.\n</instructions>");
    expect(prompt.format({ tools })).toBe(
      "<instructions>\nBe <em>brief</em>.\n</instructions>\n" +
        '<tools>\n<tool name="a">&lt;b&gt; &amp; &quot;c&quot;</tool>\n<tool name="by_name"/>\n</tools>',
    );
  });

  test("fills a template once: what is filled in is no template", () => {
    const prompt = new SystemPrompt({
      instructions: "{tools} $& $1",
      template: 'As {"json": 1}: {instructions}|{tools}',
    });
    expect(prompt.format()).toBe('As {"json": 1}: {tools} $& $1|');
  });

  test.each([
    ["{instructions} {nonsense}", "unknown placeholder {nonsense}"],
    ["only {tools}", "lacks {instructions}"],
  ])("refuses the template %s", (template, message) => {
    expect(() => new SystemPrompt({ instructions: "x", template })).toThrow(message);
  });
});

describe("an agent", () => {
  test("keeps what it is given; the generic one needs nothing", () => {
    expect(new Agent({ ...AGENT, tools: [add], model: "simulator:test" })).toMatchObject({
      ...AGENT,
      tools: [add],
    });
    expect(new GenericAgent({ tools: [add] })).toMatchObject({ name: "generic", tools: [add] });
  });

  test.each<[Partial<AgentOptions>, string]>([
    [{ name: "two words" }, "wrong at name"],
    [{ description: "" }, "wrong at description"],
    [{ maxToolIterations: 0 }, "wrong at maxToolIterations"],
    [{ tools: [{ ...add }, { ...add }] }, 'two tools are called "add"'],
    [{ tools: ["add" as never] }, "wrong at tools.0"],
    [{ tols: [] } as never, 'is wrong: Unrecognized key: "tols"'],
  ])("refuses %j", (changes, message) => {
    expect(() => new Agent({ ...AGENT, ...changes })).toThrow(message);
  });

  test("is gathered from modules with its tools; a module may export agents alone", async () => {
    const { agents, tools } = await loadModules([join(SUPPORT, "agents.ts")]);
    expect([...agents.keys()]).toEqual(["adder"]);
    expect([...tools.keys()]).toEqual(["add"]);
  });

  test("shares its name with no other", async () => {
    const modules = ["agents.ts", "more-agents.ts"].map((file) => join(SUPPORT, file));
    await expect(loadModules(modules)).rejects.toMatchObject({ code: "duplicate_agent" });
  });
});

test("a request's configuration never changes; options beside it come first", async () => {
  const config = new RequestConfig("hello", { maxTokens: 5, temperature: 0 });
  const other = config.with({ message: "bye", maxTokens: 6 });
  expect(config).toMatchObject({ message: "hello", options: { maxTokens: 5, temperature: 0 } });
  expect(other).toMatchObject({ message: "bye", options: { maxTokens: 6, temperature: 0 } });
  expect(() => Object.assign(config.options, { maxTokens: 7 })).toThrow(TypeError);
});

test("a simple executor asks each message with its options", async () => {
  const asked: unknown[] = [];
  const completer = { complete: async (...args: unknown[]) => asked.push(args) as never };
  await new SimpleExecutor(completer, { system: "Be brief." }).execute("hello");
  expect(asked).toEqual([["hello", { system: "Be brief." }]]);
});
