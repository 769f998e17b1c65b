/*
 * What stands out in counts of errors, in plain words. A pattern is told when what failed has one thing in common that
 * what went well has not: one provider, one tenant, one model, one key, long prompts.
 */

/** A count, as `store/error-counts.ts` has them; an empty code is a success. */
export interface Ended {
  kind: "end" | "attempt";
  code: string;
  model: string;
  tenant: string;
  prompt: string;
  count: number;
}

/** What stands out. */
export interface ErrorPattern {
  pattern:
    | "provider_down"
    | "provider_limits"
    | "key_refused"
    | "account_empty"
    | "model_unknown"
    | "tenant_bad_requests"
    | "model_refuses"
    | "long_prompts_time_out"
    | "workers_lost";
  /** How many jobs or calls it is about. */
  count: number;
  provider?: string;
  model?: string;
  tenant?: string;
  /** What was seen. */
  text: string;
  /** What to do. */
  hint: string;
}

/** Fewer may be chance. */
const MIN_COUNT = 5;
/** The part that the one must have of what failed. */
const MOST = 0.8;
/** The part of a provider's calls that makes a wave of failures. */
const WAVE = 0.2;

const DOWN = new Set(["server_error", "connection", "timeout", "overloaded", "invalid_response"]);
const BAD_REQUEST = new Set([
  ...["invalid_request", "unsupported_parameter", "context_length_exceeded", "request_too_large"],
  ...["invalid_schema", "content_refused"],
]);
const REFUSED = new Set(["content_refused", "structured_output"]);

/** Returns what stands out, that of most jobs or calls first. */
export function findPatterns(counts: readonly Ended[]): ErrorPattern[] {
  const found = [
    ...providersDown(counts),
    ...providerLimits(counts),
    ...keysRefused(counts),
    ...accountFaults(counts),
    ...badTenants(counts),
    ...refusingModels(counts),
    ...longPrompts(counts),
    ...lostWorkers(counts),
  ];
  return found.sort((a, b) => b.count - a.count);
}

/** Failed calls of a kind, and all calls that are known of, by what `of` says. */
function callsBy(
  counts: readonly Ended[],
  codes: ReadonlySet<string>,
  of: (count: Ended) => string | undefined,
): { name: string; failed: number; calls: number; share: number; ofCodes: [string, number][] }[] {
  const calls = counts.filter(({ kind, code }) => kind === "attempt" || code === "");
  return [...Map.groupBy(calls, of)].flatMap(([name, own]) => {
    if (name === undefined) return [];
    const failing = own.filter(({ code }) => codes.has(code));
    const [failed, all] = [sum(failing), sum(own)];
    return [{ name, failed, calls: all, share: all === 0 ? 0 : failed / all, ofCodes: byCode(failing) }];
  });
}

function providersDown(counts: readonly Ended[]): ErrorPattern[] {
  const providers = callsBy(counts, DOWN, providerOf);
  const down = providers.filter(({ failed, share }) => failed >= MIN_COUNT && share >= WAVE);
  const well = providers.filter(({ share, calls }) => calls >= MIN_COUNT && share < WAVE / 4);
  return down.map(({ name, failed, share, ofCodes }) => ({
    pattern: "provider_down",
    count: failed,
    provider: name,
    text: `${name} failed ${percent(share)} of its calls (${codesText(ofCodes)})${
      well.length > 0 ? `, while ${well.map(({ name }) => name).join(", ")} answered` : ""
    }`,
    hint: `look at the status page of ${name}; jobs with fallbacks to another provider go on meanwhile`,
  }));
}

function providerLimits(counts: readonly Ended[]): ErrorPattern[] {
  return callsBy(counts, new Set(["rate_limit"]), ({ model }) => model || undefined)
    .filter(({ failed, share }) => failed >= MIN_COUNT && share >= WAVE)
    .map(({ name, failed, share }) => ({
      pattern: "provider_limits",
      count: failed,
      model: name,
      text: `${name} answered 429 to ${percent(share)} of its calls: the account allows less than the fleet asks for`,
      hint: `give the account's limits in GLUELLM_LIMITS, look for other users of its key, or raise the limits`,
    }));
}

function keysRefused(counts: readonly Ended[]): ErrorPattern[] {
  return callsBy(counts, new Set(["authentication"]), providerOf)
    .filter(({ failed }) => failed > 0)
    .map(({ name, failed, calls, ofCodes }) => {
      const succeeded = calls - failed;
      return {
        pattern: "key_refused",
        count: failed,
        provider: name,
        text:
          succeeded > 0
            ? `${name} refused the key of some calls (${number(failed)}) and took that of others: it was changed, or some workers have another one`
            : `${name} refused its key: ${codesText(ofCodes)}, and no call succeeded`,
        hint: "gluellm doctor asks each provider whether it takes the key of this machine; set the key where workers run",
      };
    });
}

function accountFaults(counts: readonly Ended[]): ErrorPattern[] {
  const empty = callsBy(counts, new Set(["insufficient_quota"]), providerOf).filter(
    ({ failed }) => failed > 0,
  );
  const unknown = callsBy(counts, new Set(["model_not_found"]), ({ model }) => model || undefined).filter(
    ({ failed }) => failed > 0,
  );
  return [
    ...empty.map(({ name, failed }) => ({
      pattern: "account_empty" as const,
      count: failed,
      provider: name,
      text: `the account at ${name} has no credit or quota left (calls refused: ${number(failed)})`,
      hint: "add credit, or raise the spending limit of the account",
    })),
    ...unknown.map(({ name, failed }) => ({
      pattern: "model_unknown" as const,
      count: failed,
      model: name,
      text: `the provider does not know ${name}, or the account may not use it (calls refused: ${number(failed)})`,
      hint: "correct the model's name, or ask the provider for access",
    })),
  ];
}

function badTenants(counts: readonly Ended[]): ErrorPattern[] {
  const bad = counts.filter(({ kind, code }) => kind === "end" && BAD_REQUEST.has(code));
  const one = theOne(bad, ({ tenant }) => tenant);
  if (!one) return [];
  const others = counts.filter(({ kind, tenant }) => kind === "end" && tenant !== one.name);
  if (sum(others) < MIN_COUNT) return [];
  return [
    {
      pattern: "tenant_bad_requests",
      count: one.count,
      tenant: one.name,
      text: `tenant ${one.name} sent ${number(one.count)} of the ${number(sum(bad))} requests that providers refused (${codesText(byCode(one.of))})`,
      hint: `show the tenant an example: gluellm errors --by code,tenant --json`,
    },
  ];
}

function refusingModels(counts: readonly Ended[]): ErrorPattern[] {
  return [...REFUSED].flatMap((code) => {
    const refused = counts.filter((ended) => ended.kind === "end" && ended.code === code);
    const one = theOne(refused, ({ model }) => model);
    if (!one) return [];
    const others = counts.filter(({ kind, model }) => kind === "end" && model !== one.name && model !== "");
    if (sum(others) < MIN_COUNT) return [];
    const what = code === "content_refused" ? "prompts that were refused" : "answers that fitted no schema";
    return [
      {
        pattern: "model_refuses" as const,
        count: one.count,
        model: one.name,
        text: `${one.name} has ${number(one.count)} of the ${number(sum(refused))} ${what}`,
        hint:
          code === "content_refused"
            ? "look at an example job, or take another model for such prompts"
            : "simplify the schema, or take a model with native structured output",
      },
    ];
  });
}

function longPrompts(counts: readonly Ended[]): ErrorPattern[] {
  const late = counts.filter(({ kind, code }) => kind === "attempt" && code === "timeout");
  const well = counts.filter(({ kind, code }) => kind === "end" && code === "");
  const isLong = ({ prompt }: Ended) => prompt === "long";
  const long = sum(late.filter(isLong));
  if (long < MIN_COUNT || long < MOST * sum(late)) return [];
  // Where nearly all prompts are long, their length says nothing.
  if (sum(well.filter((each) => !isLong(each))) < MIN_COUNT) return [];
  return [
    {
      pattern: "long_prompts_time_out",
      count: long,
      text: `${number(long)} of ${number(sum(late))} time-outs were of prompts over 16 KB`,
      hint: "give such calls more time (GLUELLM_CALL_TIMEOUT_MS, timeoutMs), stream them, or shorten the prompts",
    },
  ];
}

function lostWorkers(counts: readonly Ended[]): ErrorPattern[] {
  const lost = sum(counts.filter(({ kind, code }) => kind === "end" && code === "worker_lost"));
  if (lost === 0) return [];
  return [
    {
      pattern: "workers_lost",
      count: lost,
      text: `jobs that ended since ten workers died or hung with them: ${number(lost)}`,
      hint: "look at the ends of the workers' logs, and at the memory of their machines",
    },
  ];
}

/** The one that has most of what is counted, when there is enough of it. */
function theOne(counts: readonly Ended[], of: (count: Ended) => string) {
  const all = sum(counts);
  const [first] = [...Map.groupBy(counts, of)]
    .map(([name, own]) => ({ name, of: own, count: sum(own) }))
    .sort((a, b) => b.count - a.count);
  const isOne = first && first.count >= MIN_COUNT && first.count >= MOST * all;
  return isOne && first.name !== "" && first.name !== "*" ? first : undefined;
}

/** Returns the provider entry of a count; undefined where no model was to be called, or none is named. */
export function providerOf({ model }: { model: string }): string | undefined {
  return model.includes(":") ? model.slice(0, model.indexOf(":")) : undefined;
}

function byCode(counts: readonly Ended[]): [string, number][] {
  const codes = [...Map.groupBy(counts, ({ code }) => code)].map(([code, own]) => [code, sum(own)] as const);
  return codes.map(([code, n]): [string, number] => [code, n]).sort(([, a], [, b]) => b - a);
}

function codesText(codes: readonly [string, number][]): string {
  return codes
    .slice(0, 3)
    .map(([code, n]) => `${code} ${number(n)}`)
    .join(", ");
}

function sum(counts: readonly { count: number }[]): number {
  return counts.reduce((total, { count }) => total + count, 0);
}

function number(value: number): string {
  return value.toLocaleString("en-US");
}

function percent(share: number): string {
  return `${Math.max(1, Math.round(share * 100))} %`;
}
