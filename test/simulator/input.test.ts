import { request } from "node:http";
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { instanceOf } from "../../src/simulator/schema-instance.ts";
import { type Simulator, startSimulator } from "../../src/simulator/simulator.ts";
import { anthropicRequest, openaiRequest, post } from "../support/simulated-provider.ts";

let simulator: Simulator;
beforeAll(async () => {
  simulator = await startSimulator({ latencyMs: 0, jitterMs: 0 });
});
afterAll(() => simulator.close());

const openai = (body: unknown) => post(`${simulator.url}/v1/chat/completions`, body);
const anthropic = (body: unknown) => post(`${simulator.url}/v1/messages`, body);

/** The status for a GET of `/` with these headers. */
function statusOf(headers: Record<string, string>): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    request({ port: simulator.port, host: "127.0.0.1", headers }, (response) => {
      response.resume();
      resolve(response.statusCode);
    })
      .on("error", reject)
      .end();
  });
}

describe("a request that cannot be read", () => {
  const nested = `{"model":"m","messages":${"[".repeat(100_000)}${"]".repeat(100_000)}}`;
  it.each<[string, unknown, string]>([
    ["no JSON", "{oops", "could not parse"],
    ["an empty body", "", "could not parse"],
    ["binary", new Uint8Array([0, 255, 254, 1]), "could not parse"],
    ["null", "null", "body: "],
    ["no model", { messages: [{ role: "user", content: "x" }] }, "model: "],
    ["no messages", { model: "m" }, "messages: "],
    ["an unknown role", { model: "m", messages: [{ role: "robot", content: "x" }] }, "messages.0.role: "],
    ["a bad limit", { ...openaiRequest("x"), max_tokens: -1 }, "max_tokens: "],
    ["deep nesting", nested, "nested more than 200 levels deep"],
    ["a tool that is not there", { ...openaiRequest("x"), tool_choice: "required" }, "tool_choice: "],
    ["a bad #sim line", openaiRequest('#sim {"replay": 1}'), "#sim line: "],
  ])("%s is a 400 in OpenAI's shape", async (_, body, message) => {
    const answer = await openai(body);
    expect(answer).toMatchObject({
      status: 400,
      body: { error: { type: "invalid_request_error", message: expect.stringContaining(message) } },
    });
  });

  it("is a 400 in Anthropic's shape", async () => {
    for (const body of [
      "{oops",
      openaiRequest("no max_tokens"),
      { ...anthropicRequest("x"), tool_choice: { type: "any" } },
    ]) {
      expect(await anthropic(body)).toMatchObject({
        status: 400,
        body: {
          type: "error",
          error: { type: "invalid_request_error" },
          request_id: expect.stringMatching(/^req_/),
        },
      });
    }
  });

  it("is a 413 when it is larger than 32 MiB", async () => {
    const huge = "x".repeat(33 * 1024 * 1024);
    expect(await openai(huge)).toMatchObject({
      status: 413,
      body: { error: { type: "invalid_request_error" } },
    });
    expect(await anthropic(huge)).toMatchObject({
      status: 413,
      body: { error: { type: "request_too_large" } },
    });
  });

  it("is a 404 or 405 in the dialect's shape on another path or method", async () => {
    expect(await post(`${simulator.url}/v1/nothing`, {})).toMatchObject({
      status: 404,
      body: { error: { code: "unknown_url" } },
    });
    expect(
      await post(`${simulator.url}/v1/nothing`, {}, { "anthropic-version": "2023-06-01" }),
    ).toMatchObject({
      status: 404,
      body: { type: "error", error: { type: "not_found_error" } },
    });
    expect((await fetch(`${simulator.url}/v1/messages`)).status).toBe(405);
  });

  it("does no harm when it breaks off, or is no HTTP at all", async () => {
    for (const text of [
      "POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{",
      "\0\x01\x02\r\n\r\n",
    ]) {
      const socket = connect(simulator.port, "127.0.0.1");
      await new Promise<void>((resolve) => socket.write(text, () => resolve()));
      socket.destroy();
    }
    expect((await openai(openaiRequest("still there"))).status).toBe(200);
  });
});

describe("access", () => {
  it("says what it is", async () => {
    const response = await fetch(simulator.url);
    expect(await response.text()).toContain("every answer is made up");
    expect(response.headers.get("x-gluellm-simulator")).toBe("1");
  });

  it("is for loopback names and origins only", async () => {
    for (const host of ["localhost", "127.0.0.1:1", "127.8.8.8", "[::1]:80"]) {
      expect(await statusOf({ host })).toBe(200);
    }
    for (const host of ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "10.0.0.1"]) {
      expect(await statusOf({ host })).toBe(403);
    }
    expect(await statusOf({ host: "localhost", origin: "http://localhost:3000" })).toBe(200);
    expect(await statusOf({ host: "localhost", origin: "https://evil.example" })).toBe(403);
    expect(await statusOf({ host: "localhost", origin: "null" })).toBe(403);
  });

  it("binds nothing but loopback", async () => {
    for (const host of ["0.0.0.0", "::", "192.168.1.1", "example.com"]) {
      await expect(startSimulator({ host })).rejects.toThrow("binds loopback only");
    }
  });

  it("says that a port is in use", async () => {
    await expect(startSimulator({ port: simulator.port })).rejects.toThrow("the port is in use");
  });

  it("names the option that is wrong", async () => {
    await expect(startSimulator({ rpm: Number.NaN })).rejects.toThrow("simulator rpm");
  });
});

describe("an instance of a JSON Schema", () => {
  it.each<[Parameters<typeof instanceOf>[0], unknown]>([
    [{ type: "string", minLength: 12 }, "simulated..."],
    [{ type: "string", maxLength: 3 }, "sim"],
    [{ type: ["integer", "null"], minimum: 5, multipleOf: 4 }, 8],
    [{ type: "number", exclusiveMinimum: 0, exclusiveMaximum: 1 }, expect.closeTo(0.5, 1)],
    [{ type: "integer", maximum: -3 }, -3],
    [{ const: { a: 1 } }, { a: 1 }],
    [{ enum: ["x", "y"] }, "x"],
    [{ anyOf: [{ $ref: "#/$defs/n" }, { type: "null" }], $defs: { n: { type: "object" } } }, null],
    [
      { $ref: "#/$defs/p", $defs: { p: { type: "array", items: { type: "boolean" }, minItems: 2 } } },
      [false, false],
    ],
    [
      {
        allOf: [
          { properties: { a: { type: "integer" } }, required: ["a"] },
          { properties: { b: { type: "null" } }, required: ["b"] },
        ],
      },
      { a: 0, b: null },
    ],
    [{ type: "object", properties: { a: { type: "string" } } }, {}],
  ])("%j → %j", (schema, instance) => {
    expect(instanceOf(schema)).toEqual(instance);
  });

  it("ends for schemas that refer to themselves or to nothing, and for nonsense", () => {
    const twice = { required: ["a", "b"], properties: { a: { $ref: "#" }, b: { $ref: "#" } } };
    expect(JSON.stringify(instanceOf(twice)).length).toBeLessThan(1_000_000);
    expect(instanceOf({ $ref: "#/nowhere" })).toBe("simulated");
    expect(instanceOf({ allOf: [null, 3], anyOf: "x", required: { a: 1 } } as never)).toEqual({});
    const wide = { type: "array", minItems: 1e9, items: { type: "array", minItems: 1e9 } };
    expect(JSON.stringify(instanceOf(wide)).length).toBeLessThan(1_000_000);
  });
});
