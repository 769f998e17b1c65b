import { examine } from "../../src/cli/doctor/examine.ts";
import { temporaryFolder } from "./redis-folders.ts";

type Told = Record<string, string>;

/** What the checks say in an environment: `status: what was seen → what to do` by name. */
export async function told(env: Record<string, string>, cwd = temporaryFolder()) {
  const report = await examine(() => {}, { env, cwd });
  const lines = report.checks.map(({ name, status, seen, remedy = "" }) => [
    name,
    `${status}: ${seen} → ${remedy}`,
  ]);
  return { report, told: Object.fromEntries(lines) as Told };
}
