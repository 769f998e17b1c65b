import { afterAll, describe, expect, test } from "vitest";
import { APIConnectionError } from "../../src/shared/errors.ts";
import type { Dialect } from "../../src/shared/providers.ts";
import { eventsOf, type Odd, sse, wholeAnswer } from "../support/odd-answers.ts";
import { expectNormal, json, openOddWire, type Wire } from "../support/odd-wire.ts";
import { DIALECTS, failureOf } from "../support/provider.ts";

const wire = openOddWire();
const { ask, streamed } = wire;
afterAll(wire.close);

const ODD_VALUES = [undefined, null, "", 0, 17, -1, true, {}, [], "?"];
/** Fields that must not keep an answer from being one, whatever stands in them. */
const FIELDS: Record<Dialect, Record<keyof Odd, string[]>> = {
  openai: {
    top: ["id", "object", "created", "model", "usage", "system_fingerprint", "service_tier"],
    choice: ["index", "logprobs", "usage", "native_finish_reason"],
    message: [
      "role",
      "tool_calls",
      "function_call",
      "reasoning",
      "reasoning_content",
      "reasoning_details",
      "annotations",
      "audio",
    ],
  },
  anthropic: {
    top: ["id", "type", "role", "model", "usage", "stop_sequence", "container"],
    choice: ["stop_details"],
    message: [],
  },
};

describe.each(DIALECTS)("the %s dialect", (dialect) => {
  const cases = Object.entries(FIELDS[dialect]).flatMap(([level, fields]) =>
    fields.map((field) => ({ level, field })),
  );
  test.each(cases)("the field $field may be absent, null or of any type", async ({ level, field }) => {
    await Promise.all(
      ODD_VALUES.map(async (value) => {
        const whole = wholeAnswer(dialect, { [level]: { [field]: value } });
        const [plain, pieces] = [
          await ask(dialect, json(whole)),
          await streamed(dialect, eventsOf(dialect, whole)),
        ];
        for (const reply of [plain, pieces]) {
          expectNormal(reply);
          expect(reply.body.choices[0]).toMatchObject({
            finish_reason: "stop",
            message: { content: "fine" },
          });
        }
        expect(pieces.tokens).toEqual(plain.tokens);
      }),
    );
  });

  test("an empty object or list in the place of an error is none", async () => {
    for (const error of [{}, [], null, ""]) {
      const whole = wholeAnswer(dialect, { top: { error } });
      for (const reply of [
        await ask(dialect, json(whole)),
        await streamed(dialect, [...eventsOf(dialect, whole), { type: "ping", error }]),
      ])
        expect(reply.body.choices[0]?.message.content).toBe("fine");
    }
  });

  test("any content type will do, and white space or a byte order mark before the JSON", async () => {
    const body = JSON.stringify(wholeAnswer(dialect));
    const wires: Wire[] = [
      { body, type: "text/plain; charset=utf-8" },
      { body },
      { body, type: "text/html" },
      { body, type: "text/event-stream" },
      { body: `\n\n   ${body}\n`, type: "application/json" },
      { body: `\ufeff${body}`, type: "application/json" },
      { body: ` \r\n\ufeff ${body}` },
      { body: sse(dialect, eventsOf(dialect, wholeAnswer(dialect))), type: "text/event-stream" },
      { body: `\ufeff${sse(dialect, eventsOf(dialect, wholeAnswer(dialect)))}` },
    ];
    for (const answer of wires)
      for (const onDelta of [undefined, () => {}]) {
        const reply = await ask(dialect, answer, onDelta);
        expectNormal(reply);
        expect(reply.body.choices[0]?.message.content).toBe("fine");
        expect(reply.tokens).toMatchObject({ prompt: 10, completion: 5, total: 15 });
      }
  });

  test("events end in any line end, have no space after the colon, comments between them, and no last empty line", async () => {
    const events = sse(dialect, eventsOf(dialect, wholeAnswer(dialect)));
    const forms = [
      events.replaceAll("\n", "\r\n"),
      events.replaceAll("\n", "\r"),
      events.replaceAll(": ", ":"),
      events.replaceAll("\n\n", "\n\n: keep-alive\n\ndata: null\n\n"),
      events.trimEnd(),
      events.replaceAll(/^event: .*\n/gm, "id: 7\nretry: 10\n"),
    ];
    for (const body of forms) {
      const reply = await ask(dialect, { body, type: "text/event-stream" }, () => {});
      expect([reply.body.choices[0]?.message.content, reply.tokens.total]).toEqual(["fine", 15]);
    }
  });

  test.each<[string, Wire]>([
    ["NaN and infinities", { body: JSON.stringify(wholeAnswer(dialect)).replace(/:10\b/, ":-Infinity") }],
    ["a list", { body: "[]" }],
    ["a text", { body: '"fine"' }],
    ["an empty object", { body: "{}" }],
    ["nulls", json({ id: null, choices: null, content: null, model: null, usage: null })],
    [
      "no message",
      json(
        wholeAnswer(dialect, {
          choice: { message: null },
          top: dialect === "openai" ? {} : { content: null, stop_reason: null },
        }),
      ),
    ],
    [
      "an empty message without a finish reason",
      json(
        wholeAnswer(
          dialect,
          dialect === "openai"
            ? { message: { content: null }, choice: { finish_reason: null } }
            : { top: { content: [], stop_reason: null } },
        ),
      ),
    ],
    ["an empty stream", { body: "", type: "text/event-stream" }],
    ["a stream of nothing", { body: "data: null\n\ndata: [DONE]\n\n", type: "text/event-stream" }],
    [
      "a stream without an end",
      { body: sse(dialect, eventsOf(dialect, wholeAnswer(dialect)).slice(0, -3)), type: "text/event-stream" },
    ],
    ["an event that is no JSON", { body: "data: {oops\n\n", type: "text/event-stream" }],
  ])("%s: a failed attempt, and no answer", async (_name, answer) => {
    for (const onDelta of [undefined, () => {}]) {
      const error = await failureOf(ask(dialect, answer, onDelta));
      expect(error).toBeInstanceOf(APIConnectionError);
      expect(error).toMatchObject({ code: "invalid_response", retryable: true });
    }
  });

  test("finish reasons are a closed set, in the words of many; unknown words are a failed attempt", async () => {
    const field = dialect === "openai" ? "finish_reason" : "stop_reason";
    const meanings: [string, unknown[]][] = [
      [
        "stop",
        [
          "stop",
          "STOP",
          "end_turn",
          "eos",
          "stop_sequence",
          "pause_turn",
          "FinishReason.STOP",
          null,
          undefined,
          0,
          1,
          {},
          [],
          "",
        ],
      ],
      [
        "length",
        ["length", "max_tokens", "MAX_TOKENS", "model_length", "model_context_window_exceeded", "max-tokens"],
      ],
      [
        "content_filter",
        ["content_filter", "SAFETY", "refusal", "content_filter: RECITATION", "PROHIBITED_CONTENT"],
      ],
    ];
    for (const [meaning, words] of meanings)
      for (const word of words) {
        const whole = wholeAnswer(dialect, { choice: { [field]: word } });
        const replies = [await ask(dialect, json(whole))];
        if (typeof word === "string" && word !== "")
          replies.push(await streamed(dialect, eventsOf(dialect, whole)));
        else if (word === 1) replies.push(await streamed(dialect, eventsOf(dialect, whole)));
        else if (word == null || word === "")
          expect(await failureOf(streamed(dialect, eventsOf(dialect, whole)))).toMatchObject({
            code: "invalid_response",
          });
        for (const reply of replies)
          expect([word, reply.body.choices[0]?.finish_reason]).toEqual([word, meaning]);
      }
    for (const word of ["error", "network_error", "abort", "OTHER", "MALFORMED_FUNCTION_CALL"]) {
      const whole = wholeAnswer(dialect, { choice: { [field]: word } });
      for (const work of [ask(dialect, json(whole)), streamed(dialect, eventsOf(dialect, whole))]) {
        const error = await failureOf(work);
        expect(error).toMatchObject({ code: "invalid_response", retryable: true });
        expect(String(error)).toContain(word);
      }
    }
  });

  test("an empty text with a finish reason is an answer", async () => {
    const empty = dialect === "openai" ? { message: { content: null } } : { top: { content: [] } };
    const whole = wholeAnswer(dialect, {
      ...empty,
      choice: dialect === "openai" ? { finish_reason: "length" } : { stop_reason: "max_tokens" },
    });
    for (const reply of [await ask(dialect, json(whole)), await streamed(dialect, eventsOf(dialect, whole))])
      expect(reply.body.choices[0]).toMatchObject({ finish_reason: "length", message: { content: "" } });
  });
});
