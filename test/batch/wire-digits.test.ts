import { expect, test } from "vitest";
import { goodBody } from "../support/provider.ts";
import { TestSite } from "../support/site.ts";
import { sendJson, wireServer } from "../support/wire-server.ts";

const line = (id: string, content: string, fields: string) =>
  `{"custom_id":${id},"method":"POST","url":"/v1/chat/completions","body":{"model":"test","messages":[{"role":"user","content":"${content}"}],${fields}}}`;

/** What the body of each row has, beside its messages. */
const FIELDS = {
  one: '"temperature":0,"seed":9007199254740993',
  other: '"temperature":0,"seed":9007199254740992',
  written: '"temperature":1.0,"top_p":1e0,"logit_bias":{"zz":-100.0,"9":-0,"3":1e400}',
  ids: '"metadata":{"__proto__":"a","constructor":{"enum":[1990391500702712081,1990391500702712082]}}',
  // Over 16 KB: it lies in Redis apart from its job.
  large: `"seed":6150769120280496265,"metadata":{"b":"${"x".repeat(20_000)}","10":"y","9":1.50}`,
};

test("numbers and keys reach the provider as the file has them; different seeds are different calls", async () => {
  const server = await wireServer((response) => sendJson(response, goodBody("openai")));
  await using site = await TestSite.open({}, { SIMULATOR_BASE_URL: `${server.url}/v1` });
  const rows = Object.values(FIELDS).map((fields, n) =>
    line(`199039150070271208${n}`, n < 2 ? "draw" : `${n}`, fields),
  );
  site.write("in.jsonl", rows);
  const run = await site.run(...site.batch());
  expect(run).toMatchObject({ code: 0, stderr: expect.stringContaining("5 of 5 rows succeeded") });
  const bodies = server.requests.map(({ body }) => body);
  expect(bodies).toHaveLength(5);
  for (const fields of Object.values(FIELDS)) {
    const known = fields.split(/,(?="(?:temperature|seed|top_p|logit_bias|metadata)":)/);
    const found = bodies.filter((body) => known.every((field) => body.includes(field)));
    expect(found, fields.slice(0, 80)).toHaveLength(1);
  }
  expect(site.read("out.jsonl").map(({ custom_id }) => custom_id)).toEqual(
    Object.keys(FIELDS).map((_, n) => `199039150070271208${n}`),
  );
});
