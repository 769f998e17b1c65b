import { join } from "node:path";
import { onTestFinished } from "vitest";
import { TestSite } from "./site.ts";

const SHIFTED = join(import.meta.dirname, "shifted-clock.ts");

/** A site beside another, on a machine whose clock is ahead. */
export async function siteAhead(site: TestSite, ms: number): Promise<TestSite> {
  site.write("shift", [ms]);
  const ahead = await TestSite.open(
    {},
    {
      GLUELLM_NAMESPACE: site.namespace,
      SIMULATOR_BASE_URL: `${site.simulator.url}/v1`,
      NODE_OPTIONS: `--import ${SHIFTED}`,
      SHIFT_FILE: site.path("shift"),
    },
  );
  onTestFinished(() => ahead[Symbol.asyncDispose]());
  return ahead;
}
