import { describe, expect, it } from "vitest";
import type { Message } from "../../src/shared/chat.ts";
import { type Judge, judged, refusal } from "../support/judged.ts";
import { failureOf } from "../support/provider.ts";
import { refusedByChat, refusedByMessages } from "../support/strict-history.ts";

describe("what a provider wants back", () => {
  const signed = { extra_content: { google: { thought_signature: "SIG" } } };
  const state = {
    "openai-test": {
      message: { reasoning_content: "hmm", reasoning_details: [{ type: "x" }], ...signed },
      calls: [signed, null],
    },
    "anthropic-test": {
      message: { thinking_blocks: [{ type: "thinking", thinking: "hmm", signature: "s" }] },
    },
    other: { message: { reasoning_content: "not yours" }, calls: [{ extra_content: "not yours" }] },
  };
  const call = (id: string) => ({ id, type: "function" as const, function: { name: "f", arguments: "{}" } });
  const history = (vendor_state: object | undefined, more: Message[] = []): Message[] => [
    { role: "user", content: "x" },
    { role: "assistant", content: null, tool_calls: [call("a"), call("b")], vendor_state },
    { role: "tool", tool_call_id: "a", content: "1" },
    { role: "tool", tool_call_id: "b", content: "2" },
    ...more,
  ];
  const KEPT = ["extra_content", "reasoning_content", "reasoning_details"];

  it("goes back to its entry in OpenAI's dialect", async () => {
    const { ask, bodies } = await judged(
      "openai",
      refusal((body) => refusedByChat(body, KEPT)),
    );
    await ask({ messages: history(state) });
    expect(bodies[0].messages[1]).toEqual({
      role: "assistant",
      content: null,
      reasoning_content: "hmm",
      reasoning_details: [{ type: "x" }],
      ...signed,
      tool_calls: [{ ...call("a"), ...signed }, call("b")],
    });
  });

  it("stays away from other entries", async () => {
    const { ask, bodies } = await judged("openai", refusal(refusedByChat), { name: "third" });
    await ask({ messages: history(state) });
    expect(JSON.stringify(bodies)).not.toMatch(/SIG|hmm|not yours|vendor_state/);
  });

  it("of reasoning is left out of turns without tools", async () => {
    const answer: Message = {
      role: "assistant",
      content: "Hi",
      vendor_state: { "openai-test": { message: { reasoning_content: "hmm" } } },
    };
    const { ask, bodies } = await judged("openai", refusal(refusedByChat));
    await ask({ messages: [{ role: "user", content: "x" }, answer, { role: "user", content: "y" }] });
    expect(bodies[0].messages[1]).toEqual({ role: "assistant", content: "Hi" });
  });

  it("is made up for calls of another provider: signatures where Gemini is, or where a server asks for them", async () => {
    const lacks: Judge = ({ messages }) =>
      messages[1].tool_calls[0].extra_content
        ? undefined
        : { message: "Function call is missing a thought_signature in functionCall parts." };
    const asked = await judged("openai", lacks);
    await asked.ask({ messages: history({ other: state.other }) });
    expect(asked.bodies).toHaveLength(2);
    const known = await judged("openai", lacks, { name: "google" });
    await known.ask({ messages: history(undefined) }, { model: "gemini-3-flash-preview" });
    expect(known.bodies).toHaveLength(1);
    expect(known.bodies[0].messages[1].tool_calls[1]).not.toHaveProperty("extra_content");
  });

  it("is an empty reasoning for calls of another provider, where a server asks for it", async () => {
    const { ask, bodies } = await judged("openai", ({ messages }) =>
      messages[1].reasoning_content === undefined
        ? { message: "The `reasoning_content` in the thinking mode must be passed back to the API." }
        : undefined,
    );
    await ask({ messages: history(undefined) });
    await ask({ messages: history(undefined) });
    expect(bodies.map((body) => body.messages[1].reasoning_content)).toEqual([undefined, "", ""]);
  });

  it("is left out when the provider refuses it, for this request alone", async () => {
    const { ask, bodies } = await judged("openai", (body) =>
      JSON.stringify(body).includes("SIG") && body.messages.length > 4
        ? { message: "Corrupted thought signature.", code: 400 }
        : undefined,
    );
    await ask({ messages: history(state, [{ role: "user", content: "y" }]) });
    expect(bodies).toHaveLength(2);
    expect(JSON.stringify(bodies[1])).not.toMatch(/SIG|reasoning/);
    await ask({ messages: history(state) });
    expect(bodies).toHaveLength(3);
    expect(JSON.stringify(bodies[2])).toContain("SIG");
  });

  it("is Anthropic's thinking, in front of the calls; refused, it is left out and the loop ends without", async () => {
    const wire = { providerOptions: { anthropic: { thinking: { type: "enabled", budget_tokens: 1024 } } } };
    const whole = await judged("anthropic", refusal(refusedByMessages));
    await whole.ask({ messages: history(state) }, { wire });
    expect(whole.bodies[0].messages[1].content[0]).toEqual(
      state["anthropic-test"].message.thinking_blocks[0],
    );
    const invalid = await judged("anthropic", (body) =>
      JSON.stringify(body).includes("signature")
        ? { message: "messages.1.content.0: Invalid `signature` in `thinking` block" }
        : refusal(refusedByMessages)(body),
    );
    await invalid.ask({ messages: history(state) }, { wire });
    expect(invalid.bodies).toHaveLength(2);
    expect(invalid.bodies[1]).not.toHaveProperty("thinking");
  });

  it("is missing in a loop that another provider began: Anthropic goes on without thinking", async () => {
    const wire = { providerOptions: { anthropic: { thinking: { type: "enabled", budget_tokens: 1024 } } } };
    const { ask, bodies } = await judged("anthropic", refusal(refusedByMessages));
    await ask({ messages: history({ other: state.other }) }, { wire });
    await ask(
      {
        messages: history(undefined, [
          { role: "assistant", content: "z" },
          { role: "user", content: "y" },
        ]),
      },
      { wire },
    );
    expect(bodies.map(({ thinking }) => thinking?.type)).toEqual([undefined, "enabled"]);
  });

  it("that teaches nothing new is not asked for again", async () => {
    const { ask, bodies } = await judged("openai", () => ({ message: "thinking is not for you" }));
    expect(await failureOf(ask({}))).toMatchObject({ name: "InvalidRequestError" });
    expect(bodies).toHaveLength(1);
  });
});
