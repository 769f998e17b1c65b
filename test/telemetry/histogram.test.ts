import { Histogram as Reference, Registry } from "prom-client";
import { expect, test } from "vitest";
import { Histogram } from "../../src/telemetry/histogram.ts";

const BOUNDS = [0.01, 0.1, 1, 10];
/** Two helpings, as scrapes divide them: values on a bound, between bounds, and above all of them. */
const HELPINGS = [
  [0, 0.01, 0.011, 0.5],
  [1, 10, 10.5, 1e6, 0.05],
];

test("many values at once come to what prom-client's histogram has of each", async () => {
  const [registry, registryOfOurs] = [new Registry(), new Registry()];
  const about = { name: "seconds", help: "how long" };
  const reference = new Reference({
    ...about,
    labelNames: ["a", "b"],
    buckets: BOUNDS,
    registers: [registry],
  });
  const ours = new Histogram(about.name, about.help, BOUNDS);
  registryOfOurs.registerMetric(ours as never);
  for (const labels of [
    { a: "1", b: "x" },
    { a: "2", b: "" },
  ]) {
    for (const values of HELPINGS) {
      const observed = ours.empty();
      for (const value of values) {
        reference.observe(labels, value);
        ours.observe(observed, value);
      }
      ours.add(labels, observed);
    }
  }
  expect(await registryOfOurs.metrics()).toBe(await registry.metrics());
  const json = await registryOfOurs.getMetricsAsJSON();
  expect(json).toMatchObject(JSON.parse(JSON.stringify(await registry.getMetricsAsJSON(), leaveOut)));
});

/** What prom-client says beside it. */
function leaveOut(name: string, value: unknown): unknown {
  return ["aggregator", "exemplar", "sharedLabels"].includes(name) ? undefined : value;
}
