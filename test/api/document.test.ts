import { Ajv2020 } from "ajv/dist/2020.js";
import type { Router } from "express";
import { expect, test } from "vitest";
import type { ApiContext } from "../../src/api/context.ts";
import { mountGroup } from "../../src/api/mount.ts";
import { ROUTE_GROUPS } from "../../src/api/route-groups.ts";
import { openApi } from "../support/api.ts";

interface Operation {
  operationId: string;
  parameters?: { name: string; in: string; required?: boolean; schema: object }[];
  requestBody?: { content: Record<string, { schema: object }> };
  responses: Record<string, { content?: Record<string, { schema: object }> }>;
}
interface Document {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, object> };
}

/** What express really serves: `get /v1/models`. */
function servedRoutes(): string[] {
  const options = {
    context: {} as ApiContext,
    authorize: () => Promise.reject(),
    over: new AbortController().signal,
  };
  return ROUTE_GROUPS.flatMap((group) => {
    const router: Router = mountGroup(group, options);
    return router.stack.flatMap(({ route }) =>
      (route?.stack ?? []).map(({ method }) => `${method} ${group.basePath}${route?.path}`),
    );
  });
}

async function readDocument(): Promise<Document> {
  const { url } = await openApi();
  const response = await fetch(`${url}/openapi.json`);
  expect([response.status, response.headers.get("content-type")]).toEqual([
    200,
    expect.stringMatching(/^application\/json/),
  ]);
  return (await response.json()) as Document;
}

test("the document names each route of the routers, and no other", async () => {
  const { paths } = await readDocument();
  const documented = Object.entries(paths).flatMap(([path, item]) =>
    Object.keys(item).map((method) => `${method} ${path}`),
  );
  const served = new Set(servedRoutes().map((route) => route.replace(/[:*](\w+)/g, "{$1}")));
  expect(documented.sort()).toEqual([...served].sort());
  expect(documented).toContain("post /api/runs/{id}/signals");
});

test("the document is sound: each reference leads somewhere, each schema compiles, each parameter is declared", async () => {
  const document = await readDocument();
  expect(document.openapi).toMatch(/^3\.1\./);
  const ajv = new Ajv2020({ strict: false, validateFormats: false });
  ajv.addSchema({ $id: "document", ...document });
  const operations = Object.entries(document.paths).flatMap(([path, item]) =>
    Object.values(item).map((operation) => ({ path, operation })),
  );
  const ids = operations.map(({ operation }) => operation.operationId);
  expect(new Set(ids).size).toBe(ids.length);
  for (const { path, operation } of operations) {
    const { parameters = [], requestBody, responses } = operation;
    const declared = parameters.filter((parameter) => parameter.in === "path");
    expect([path, declared.map(({ name }) => name).sort()]).toEqual([
      path,
      [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort(),
    ]);
    expect(declared.every(({ required }) => required)).toBe(true);
    const contents = [requestBody, ...Object.values(responses)].flatMap((each) =>
      Object.values(each?.content ?? {}),
    );
    for (const schema of [...parameters, ...contents].map((each) => each.schema))
      ajv.compile(JSON.parse(JSON.stringify(schema).replaceAll('"#/', '"document#/')));
  }
});

test("the page shows every operation, without scripts and without anything from elsewhere", async () => {
  const { url } = await openApi();
  const response = await fetch(`${url}/docs`);
  const page = await response.text();
  const { paths } = (await (await fetch(`${url}/openapi.json`)).json()) as Document;
  expect(response.headers.get("content-security-policy")).toContain("default-src 'self'");
  for (const item of Object.values(paths))
    for (const { operationId } of Object.values(item))
      expect(page).toContain(`<details id="${operationId}">`);
  expect(page).not.toMatch(/<script|https?:\/\//i);
  const targets = [...page.matchAll(/href="#([^"]+)"/g)].map(([, id]) => id);
  for (const id of targets) expect(page).toContain(`id="${id}"`);
});
