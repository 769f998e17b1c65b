import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, onTestFinished, test } from "vitest";
import { ConfigurationError, GlueLLM, getSettings, reloadSettings, settings } from "../../src/index.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { backoffMs } from "../../src/workers/verdict.ts";

let cwd: string;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), "gluellm-settings-"));
});
afterEach(() => rmSync(cwd, { recursive: true }));

const load = (env: Record<string, string> = {}) => loadSettings({ env, cwd });

test.each([
  [{ MAX_RETRIES: "2" }, 3],
  [{ GLUELLM_MAX_RETRIES: "0" }, 1],
  [{ RETRY_MAX_ATTEMPTS: "5" }, 5],
  [{ RETRY_MAX_ATTEMPTS: "3", MAX_RETRIES: "2" }, 3],
  [{}, undefined],
])("%o are %s attempts", (env, attempts) => {
  expect(load(env).retry.maxAttempts).toBe(attempts);
});

test("the other names of waits, and the multiplier, are those of the backoff", () => {
  const { retry } = load({ RETRY_INITIAL_WAIT: "1", GLUELLM_RETRY_MULTIPLIER: "3" });
  expect(retry).toMatchObject({ minWaitMs: 1000, maxWaitMs: 30_000, multiplier: 3 });
  // The upper end: random() is 1.
  expect(backoffMs(1, retry, () => 1)).toBe(6000);
  expect(backoffMs(1, load().retry, () => 1)).toBe(4000);
});

test("two names of one setting that contradict each other are a fault", () => {
  const env = { MAX_RETRIES: "2", RETRY_MAX_ATTEMPTS: "2", RETRY_INITIAL_WAIT: "1", RETRY_MIN_WAIT: "2" };
  expect(() => load(env)).toThrow(
    /2 settings are wrong:\n {2}MAX_RETRIES: contradicts RETRY_MAX_ATTEMPTS.*\n {2}RETRY_INITIAL_WAIT: contradicts/,
  );
});

test.each([
  ["GLUELLM_CACHE_TLL", "did you mean GLUELLM_CACHE_TTL?"],
  ["GLUELLM_REDISURL", "did you mean GLUELLM_REDIS_URL?"],
  ["GLUELLM_OPENAI_API_KYE", "did you mean GLUELLM_OPENAI_API_KEY?"],
])("a misspelt %s is warned of once, with the name that was meant", async (name, hint) => {
  const warnings: string[] = [];
  const note = ({ message }: Error) => warnings.push(message);
  process.on("warning", note);
  onTestFinished(() => void process.off("warning", note));
  const env = { [name]: "secret-value", GLUELLM_NAMESPACE: "a", GLUELLM_EMPTY_ONE: "" };
  const sentence = `${name} is no setting and has no effect; ${hint}`;
  expect(load(env).warnings).toEqual([sentence]);
  load(env);
  // They are told in a later turn of the event loop.
  await new Promise(setImmediate);
  expect(warnings).toEqual([sentence]);
});

test("variables of .env, of entries and of keys are told apart from misspelt ones", () => {
  writeFileSync(join(cwd, ".env"), "GLUELLM_LOG_LEVLE=debug\n");
  const providers = { "my-own": { baseUrl: "http://127.0.0.1:1/v1" } };
  const { warnings } = load({
    GLUELLM_PROVIDERS: JSON.stringify(providers),
    GLUELLM_MY_OWN_API_KEY: "k",
    GLUELLM_MY_OWN_BASE_URL: "http://127.0.0.1:2/v1",
    GLUELLM_OPENAI_API_KEY: "k",
    GLUELLM_TEST_SEED: "1",
  });
  expect(warnings).toEqual([
    "GLUELLM_LOG_LEVLE is no setting and has no effect; did you mean GLUELLM_LOG_LEVEL?",
  ]);
});

test.each([
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: "localhost:4318" }, "OTEL_EXPORTER_OTLP_ENDPOINT: must be an http"],
  [{ OTEL_EXPORTER_OTLP_HEADERS: "no header" }, "OTEL_EXPORTER_OTLP_HEADERS: must be name=value"],
  [{ GLUELLM_LOG_FILE_NAME: "../up.log" }, "GLUELLM_LOG_FILE_NAME: must be a file's name without a folder"],
  [{ GLUELLM_TRACING_SAMPLE_RATIO: "10" }, "GLUELLM_TRACING_SAMPLE_RATIO: must be from 0 to 1"],
  [{ GLUELLM_LOG_FILE_LEVEL: "loud" }, "GLUELLM_LOG_FILE_LEVEL"],
])("%o are refused", (env, fault) => {
  expect(() => load(env)).toThrow(fault);
});

test.each(["OTEL_EXPORTER_OTLP_ENDPOINT", "MLFLOW_TRACKING_URI", "SENTRY_DSN", "LOG_DIR"])(
  "a stranger's .env does not choose %s while the environment has keys",
  (name) => {
    writeFileSync(join(cwd, ".env"), `${name}=http://evil.example/1\n`);
    expect(() => load({ OPENAI_API_KEY: "k" })).toThrow(`${name}: comes from .env`);
    expect(() => load({ OPENAI_API_KEY: "k", GLUELLM_TRUST_ENV_FILE: "true" })).not.toThrow();
  },
);

test("headers and tokens of collectors are held as secrets", () => {
  const { tracing, sentry } = load({
    OTEL_EXPORTER_OTLP_HEADERS: "authorization=Bearer%20canary-1",
    MLFLOW_TRACKING_TOKEN: "canary-2",
    SENTRY_DSN: "https://canary-3@example.org/1",
  });
  expect(JSON.stringify({ tracing, sentry })).not.toContain("canary");
  expect(tracing.headers.authorization?.reveal()).toBe("Bearer canary-1");
});

test("the exported settings follow the environment when they are read anew, and stay when it is wrong", () => {
  const before = process.env.CACHE_TTL;
  onTestFinished(() => {
    if (before === undefined) delete process.env.CACHE_TTL;
    else process.env.CACHE_TTL = before;
    reloadSettings();
  });
  process.env.CACHE_TTL = "11";
  expect(reloadSettings().cache.ttlSeconds).toBe(11);
  process.env.CACHE_TTL = "12";
  expect([settings.cache.ttlSeconds, getSettings().cache.ttlSeconds]).toEqual([11, 11]);
  expect(reloadSettings()).toBe(getSettings());
  expect(settings.cache.ttlSeconds).toBe(12);
  expect({ ...settings }).toEqual(getSettings());
  expect(() => Object.assign(settings, { namespace: "x" })).toThrow(TypeError);
  process.env.CACHE_TTL = "soon";
  expect(() => reloadSettings()).toThrow(ConfigurationError);
  expect(settings.cache.ttlSeconds).toBe(12);
});

test("a client's calls have the default system prompt and bound of tool turns, unless they say otherwise", () => {
  const given = load({ DEFAULT_SYSTEM_PROMPT: "Be brief.", MAX_TOOL_ITERATIONS: "3" });
  const open = (options = {}) =>
    new GlueLLM({ model: "simulator:test", mode: "fleet", settings: given, ...options });
  const { request, maxToolIterations } = open().toInput("Hi", { tools: ["add"] });
  expect(request.messages[0]).toEqual({ role: "system", content: "Be brief." });
  expect(maxToolIterations).toBe(3);
  expect(open({ system: "Be long." }).toInput("Hi", {}).request.messages[0]?.content).toBe("Be long.");
  const own = open().toInput("Hi", { system: "Be kind.", tools: ["add"], maxToolIterations: 5 });
  expect([own.request.messages[0]?.content, own.maxToolIterations]).toEqual(["Be kind.", 5]);
});
