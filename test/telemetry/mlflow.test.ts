import { expect, test } from "vitest";
import { mlflowHeaders } from "../../src/telemetry/mlflow.ts";
import { wireServer } from "../support/wire-server.ts";

test("an experiment that another process of the fleet made meanwhile is taken", async () => {
  let isMade = false;
  const mlflow = await wireServer((response, { path }) => {
    const isKnown = isMade && path.includes("get-by-name");
    if (path.endsWith("/create")) isMade = true;
    const body = isKnown
      ? { experiment: { experiment_id: "42" } }
      : { error_code: "RESOURCE_ALREADY_EXISTS" };
    const status = isKnown ? 200 : path.endsWith("/create") ? 400 : 404;
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  });
  const headers = mlflowHeaders({ trackingUri: mlflow.url, experimentName: "answers", token: "secret" });
  expect(await headers()).toEqual({ authorization: "Bearer secret", "x-mlflow-experiment-id": "42" });
  expect(await headers()).toMatchObject({ "x-mlflow-experiment-id": "42" });
  expect(mlflow.requests).toHaveLength(3);
});
