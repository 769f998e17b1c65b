import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { BenchSite } from "./site.ts";

const CALLS = 3000;
const ROUNDS = 7;
const CLIENT = join(import.meta.dirname, "client-calls.ts");

/** Measures what encryption at rest adds to a completion of a provider that answers in 0 ms: the same calls with and without it, in turn. */
export async function encryption(): Promise<void> {
  await using site = await BenchSite.open();
  const figures = join(site.folder, "figures.json");
  const key = { GLUELLM_ENCRYPTION_KEYS: `bench:${randomBytes(32).toString("base64")}` };
  const measure = async (env: Record<string, string>) => {
    site.env = env;
    if ((await site.run(CLIENT, [String(CALLS), figures]).exit) !== 0) throw new Error("the calls failed");
    const { total, durationMs, cpuMs } = JSON.parse(readFileSync(figures, "utf8"));
    return { ms: durationMs / total, cpuMs: cpuMs / total };
  };
  const sides: Record<"off" | "on", { ms: number; cpuMs: number }[]> = { off: [], on: [] };
  await measure({});
  for (let round = 0; round < ROUNDS; round++) {
    sides.off.push(await measure({}));
    sides.on.push(await measure(key));
  }
  console.log(
    `\nEncryption at rest, ${CALLS} client calls, 100 at a time, 0 ms provider, medians of ${ROUNDS}`,
  );
  for (const [name, rounds] of Object.entries(sides)) {
    const [ms, cpuMs] = [median(rounds.map((each) => each.ms)), median(rounds.map((each) => each.cpuMs))];
    console.log(`  ${name.padEnd(6)}${ms.toFixed(3)} ms a call, ${cpuMs.toFixed(3)} ms of CPU`);
  }
  const share = (of: "ms" | "cpuMs") =>
    100 * (median(sides.on.map((each, n) => each[of] / (sides.off[n]?.[of] ?? 1))) - 1);
  console.log(
    `  on beside off, by rounds: ${share("ms").toFixed(1)} % of the time, ${share("cpuMs").toFixed(1)} % of the CPU`,
  );
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
