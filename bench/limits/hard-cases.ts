import { writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { ChargePolicy } from "../../src/simulator/charge.ts";
import { TokenBucket } from "../../src/simulator/token-bucket.ts";
import { HeaderProxy, type Headers } from "../../test/support/header-proxy.ts";
import type { Bench } from "./bench.ts";
import { epochMs, figuresOf, type Span } from "./figures.ts";
import { drawTokens, type Limits } from "./load.ts";
import { rowOf } from "./product-fleet.ts";
import { LATENCY_MS, SIZES, startProduct } from "./product-run.ts";
import type { Arrival } from "./simulator-control.ts";
import { percent, seconds, type Table, verdict } from "./table.ts";

/** Of a machine that other programs share. */
const RATE: Limits = { rpm: 1500, tpm: 900_000, burstSeconds: 1 };
const PER_SECOND = RATE.rpm / 60;
const SETTLED_MS = 8000;
const SKEW_MS = 5000;
/** Log-normal sizes of answers whose 99th percentile is 40 times their median. */
const TAIL = { medianTokens: 100, sigma: Math.log(40) / 2.326 };
const TAIL_TPM = 400_000;
const CLOCK = join(import.meta.dirname, "../../test/support/shifted-clock.ts");

interface HardRun {
  limits?: object;
  rows: readonly string[];
  env?: Record<string, string>;
  workerEnvs?: Record<string, string>[];
  steadyMs?: number;
}

interface Hard {
  title: string;
  run: (bench: Bench) => Promise<{ use: number; rateLimited: number; calls: number; first: number }>;
}

const CASES: Hard[] = [
  { title: "two models in one bucket", run: oneBucket },
  { title: "input and output tokens apart (Anthropic)", run: inputAndOutput },
  {
    title: "answers with a heavy tail, no `max_tokens`, counted when they are there",
    run: heavyTail("produced"),
  },
  { title: "the same, refused by the size that they are going to have", run: heavyTail("used") },
  { title: "requests per day stated under the names of a minute", run: perDay },
  { title: "workers' clocks 5 s ahead and behind", run: skewed },
  { title: "no header states anything, refusals neither", run: silent },
];

/** What a limiter rarely meets, and all at once in production. */
export async function hard(bench: Bench): Promise<Table> {
  const rows: string[][] = [];
  const load: number[] = [];
  for (const { title, run } of CASES) {
    const { use, rateLimited, calls, first } = await run(bench);
    load.push(loadavg()[0] ?? 0);
    const share = rateLimited / calls;
    const isMet = use >= 0.95 && share < 0.005;
    const cells = [percent(use), String(rateLimited), percent(share, 2), String(first)];
    rows.push([title, ...cells, verdict("≥ 95 %, < 0.5 %", isMet)]);
    console.log(rows.at(-1)?.join(" | "));
  }
  return {
    title: "Limits, harder",
    about: `3 \`gluellm worker\` processes and one \`gluellm batch run\`; ${RATE.rpm} RPM and ${RATE.tpm / 1e6}M TPM unless the row says otherwise, bucket of 1 s, ${LATENCY_MS} ms answers. Use and 429s are those of ${seconds(2 * bench.steadyMs)} after the first ${seconds(SETTLED_MS)}, whose 429s stand apart. Load average ${Math.min(...load).toFixed(0)} to ${Math.max(...load).toFixed(0)} on a machine of two cores.`,
    head: ["case", "use", "429s", "of calls", "429s at first", "target"],
    rows,
  };
}

/** Lets the fleet work, and returns what the provider saw of it. */
async function observe(bench: Bench, run: HardRun): Promise<{ arrivals: Arrival[]; span: Span }> {
  const { rows, env, limits = RATE, workerEnvs } = run;
  await using product = await startProduct(bench, rows, env, limits, workerEnvs);
  await delay(SETTLED_MS);
  const from = epochMs();
  await delay(2 * bench.steadyMs);
  return { arrivals: await product.arrivals(), span: { from, to: epochMs() } };
}

function seen({ arrivals, span }: { arrivals: Arrival[]; span: Span }, limits: Limits = RATE) {
  const { use, rateLimited, accepted } = figuresOf(arrivals, limits, span);
  const first = arrivals.filter(({ at, isLimited }) => isLimited && at < span.from).length;
  return { use, rateLimited, calls: accepted + rateLimited, first };
}

/** More than can be done in the time. */
function countOf({ steadyMs }: Bench, perSecond = PER_SECOND): number {
  return Math.ceil((perSecond * 1.3 * (SETTLED_MS + 2 * steadyMs)) / 1000);
}

function rowsOf(bench: Bench): string[] {
  return Array.from({ length: countOf(bench) }, (_, n) => rowOf(n, SIZES));
}

/** The provider keeps the models apart, so a strict bucket is kept here over what it accepted of both. */
async function oneBucket(bench: Bench) {
  const models = ["simulator:one", "simulator:two"];
  const { rpm, tpm } = RATE;
  const GLUELLM_LIMITS = JSON.stringify({
    "simulator:one": { rpm, tpm, bucket: "both" },
    "simulator:two": { bucket: "both" },
  });
  const rows = rowsOf(bench).map(
    (line, n) => `${JSON.stringify({ ...JSON.parse(line), model: models[n % 2] })}\n`,
  );
  const observed = await observe(bench, { rows, env: { GLUELLM_LIMITS } });
  const buckets = [new TokenBucket(rpm, rpm / 60, 0, true), new TokenBucket(tpm, tpm / 60, 0, true)] as const;
  const start = observed.arrivals[0]?.at ?? 0;
  const arrivals = observed.arrivals.map((arrival) => {
    const now = arrival.at - start;
    const amounts = [1, arrival.tokens] as const;
    if (buckets.some((bucket, i) => bucket.waitMs(amounts[i]!, now) > 0))
      return { ...arrival, tokens: 0, isLimited: true };
    buckets.forEach((bucket, i) => void bucket.take(amounts[i]!, now));
    return arrival;
  });
  return seen({ arrivals, span: observed.span });
}

/** Bound by output: 20 answers a second, whose input would allow 30. */
async function inputAndOutput(bench: Bench) {
  const [itpm, otpm] = [30 * 100 * 60, 20 * 300 * 60];
  const rows = Array.from({ length: countOf(bench) }, (_, n) => {
    const tokens = drawTokens({ medianTokens: 250, sigma: 0.6 });
    const directive = `\n#sim {"reply":"","tokens":${tokens}}`;
    const prompt = `row-${n} ${"x".repeat(400 - directive.length)}${directive}`;
    return `${JSON.stringify({ custom_id: `row-${n}`, model: "claude:bench", prompt, max_tokens: Math.ceil(1.5 * tokens) })}\n`;
  });
  const entry = { dialect: "anthropic", baseUrl: bench.providerUrl, keyOptional: true };
  const env = { GLUELLM_PROVIDERS: JSON.stringify({ claude: entry }) };
  const limits = { rpm: null, tpm: null, itpm, otpm, burstSeconds: 1 };
  const { arrivals, span } = await observe(bench, { rows, env, limits });
  const inSpan = arrivals.filter(({ at }) => at >= span.from && at < span.to);
  const minutes = (span.to - span.from) / 60_000;
  const sum = (of: (arrival: Arrival) => number) => inSpan.reduce((total, arrival) => total + of(arrival), 0);
  const uses = [
    sum(({ promptTokens }) => promptTokens) / itpm,
    sum(({ completionTokens }) => completionTokens) / otpm,
  ];
  return { ...seen({ arrivals, span }), use: Math.max(...uses) / minutes };
}

/**
 * A token takes its time, so the long ones are known late. A provider counts them when they are there; one that refuses by a
 * size which nobody can know yet is the harder one.
 */
function heavyTail(charge: ChargePolicy): Hard["run"] {
  return async (bench) => {
    const rows = Array.from({ length: countOf(bench) }, (_, n) => {
      const tokens = Math.min(20_000, Math.round(TAIL.medianTokens * Math.exp(TAIL.sigma * normal())));
      const prompt = `row-${n}\n#sim {"reply":"","tokens":${tokens},"latencyMs":${LATENCY_MS + Math.round(tokens / 4)}}`;
      return `${JSON.stringify({ custom_id: `row-${n}`, prompt })}\n`;
    });
    const limits = { ...RATE, tpm: TAIL_TPM };
    try {
      await bench.provider.set("limits", { charge });
      return seen(await observe(bench, { rows, limits }), limits);
    } finally {
      await bench.provider.set("limits", { charge: "used" });
    }
  };
}

function normal(): number {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}

/** As Groq does: requests of a day beside tokens of a minute, which bind here. */
async function perDay(bench: Bench) {
  const limits = { ...RATE, rpm: 6000, tpm: PER_SECOND * 479 * 60 };
  const day = 14_400;
  let used = 0;
  await using proxy = await HeaderProxy.before(bench.providerUrl, (headers) => {
    used += 1;
    return {
      ...headers,
      "x-ratelimit-limit-requests": String(day),
      "x-ratelimit-remaining-requests": String(day - used),
      "x-ratelimit-reset-requests": `${((used / day) * 86_400).toFixed(2)}s`,
    };
  });
  const env = { SIMULATOR_BASE_URL: `${proxy.url}/v1` };
  return seen(await observe(bench, { rows: rowsOf(bench), env, limits }), limits);
}

async function skewed(bench: Bench) {
  const workerEnvs = [-SKEW_MS, 0, SKEW_MS].map((ms) => {
    const SHIFT_FILE = join(bench.folder, `shift-${ms}`);
    writeFileSync(SHIFT_FILE, String(ms));
    return { SHIFT_FILE, NODE_OPTIONS: `--import ${CLOCK}` };
  });
  return seen(await observe(bench, { rows: rowsOf(bench), workerEnvs }));
}

async function silent(bench: Bench) {
  const isSpoken = (name: string) => /ratelimit|retry-after/.test(name);
  const change = (headers: Headers) =>
    Object.fromEntries(Object.entries(headers).filter(([name]) => !isSpoken(name)));
  await using proxy = await HeaderProxy.before(bench.providerUrl, change);
  return seen(await observe(bench, { rows: rowsOf(bench), env: { SIMULATOR_BASE_URL: `${proxy.url}/v1` } }));
}
