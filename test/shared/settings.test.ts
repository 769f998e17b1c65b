import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ConfigurationError } from "../../src/shared/errors.ts";
import { fingerprint, requireKey } from "../../src/shared/providers.ts";
import { loadSettings } from "../../src/shared/settings.ts";

let cwd: string;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), "gluellm-settings-"));
});
afterEach(() => rmSync(cwd, { recursive: true }));

const load = (env: Record<string, string> = {}, options = {}) => loadSettings({ env, cwd, ...options });
const writeEnvFile = (text: string) => writeFileSync(join(cwd, ".env"), text);

function faultsOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigurationError);
    return (error as Error).message;
  }
  throw new Error("no fault was reported");
}

describe("sources", () => {
  test("defaults are those of .env.example", () => {
    const settings = load();
    expect(settings).toMatchObject({
      namespace: "default",
      dataDir: join(cwd, ".gluellm"),
      redisUrl: undefined,
      defaultModel: "openai:gpt-4o-mini",
      limits: {},
      retry: { maxAttempts: undefined, minWaitMs: 2000, maxWaitMs: 30_000 },
      callTimeoutMs: undefined,
      learnLimits: true,
      profile: "balanced",
      circuitBreaker: { enabled: true, failureRate: 0.5, minCalls: 20, windowMs: 30_000, cooldownMs: 2000 },
      workerConcurrency: undefined,
      dashboard: { host: "127.0.0.1", port: 3000, password: undefined },
    });
  });

  test("the prefixed name wins over the bare one, the environment over .env, and empty means not set", () => {
    writeEnvFile("REDIS_URL=redis://file\nDEFAULT_MODEL=file:model\nRETRY_MIN_WAIT=0.25\n");
    const settings = load({
      REDIS_URL: "redis://bare",
      GLUELLM_REDIS_URL: "redis://prefixed",
      DEFAULT_MODEL: "",
    });
    expect(settings.redisUrl).toBe("redis://prefixed");
    expect(settings.defaultModel).toBe("file:model");
    expect(settings.retry.minWaitMs).toBe(250);
  });

  test("generic bare names are not read", () => {
    expect(load({ NAMESPACE: "kube-system", DATA_DIR: "/elsewhere" }).namespace).toBe("default");
  });

  test("a bare REDIS_URL is ignored where asked", () => {
    expect(load({ REDIS_URL: "redis://production" }, { ignoreBareRedisUrl: true }).redisUrl).toBeUndefined();
  });

  test("the settings are frozen to the bottom", () => {
    const settings = load({ OPENAI_API_KEY: "k", GLUELLM_LIMITS: '{"openai:*":{"rpm":5}}' });
    expect(() => Object.assign(settings.retry, { minWaitMs: 0 })).toThrow(TypeError);
    expect(() => Object.assign(settings.limits["openai:*"] ?? {}, { rpm: 1 })).toThrow(TypeError);
  });
});

describe("faults", () => {
  test("all faults are reported at once, by variable name", () => {
    const message = faultsOf(() =>
      load({
        GLUELLM_NAMESPACE: "a b",
        RETRY_MIN_WAIT: "soon",
        GLUELLM_LIMITS: '{"openai:gpt-4o":{"rpm":0,"tmp":5}}',
        GLUELLM_WORKER_CONCURRENCY: "1.5",
        OPENAI_BASE_URL: "ftp://x",
      }),
    );
    for (const name of [
      "GLUELLM_NAMESPACE",
      "RETRY_MIN_WAIT",
      "GLUELLM_LIMITS",
      "GLUELLM_WORKER_CONCURRENCY",
      "OPENAI_BASE_URL",
    ]) {
      expect(message).toContain(`${name}`);
    }
    expect(message).toContain("openai:gpt-4o.rpm");
    expect(message).toContain("tmp");
  });

  test.each([["not json"], ['{"a":{"rpm":-1}}'], ['{"a":{"rpm":"many"}}'], ["[]"]])(
    "limits %s are refused",
    (text) => {
      expect(faultsOf(() => load({ GLUELLM_LIMITS: text }))).toContain("GLUELLM_LIMITS");
    },
  );

  test.each([["gpt-4o"], ["opneai:gpt-4o"], ["opneai*:gpt-4o"], ["openai:"], [""]])(
    "a limit for %s, which no model is called, is refused",
    (pattern) => {
      expect(faultsOf(() => load({ GLUELLM_LIMITS: JSON.stringify({ [pattern]: { rpm: 5 } }) }))).toContain(
        "fits no model",
      );
    },
  );

  test("a number out of range is told its range", () => {
    expect(faultsOf(() => load({ GLUELLM_RETRY_MIN_WAIT: "-1" }))).toContain("must be from 0 to 86400");
  });

  test("a stranger's .env cannot choose where the Redis program comes from", () => {
    writeEnvFile("XDG_CACHE_HOME=/evil\nPATH=/evil\nXDG_RUNTIME_DIR=/evil\n");
    const { system } = load({ HOME: "/home/me" });
    expect(system).toMatchObject({ cacheDir: "/home/me/.cache/gluellm", searchPath: "" });
    expect(system.runtimeDir).not.toBe("/evil");
  });

  test("a stranger's .env cannot send the shell's key elsewhere", () => {
    writeEnvFile("OPENAI_BASE_URL=https://evil.example/v1\n");
    expect(faultsOf(() => load({ OPENAI_API_KEY: "sk-shell" }))).toContain("OPENAI_BASE_URL");
    expect(
      load({ OPENAI_API_KEY: "sk-shell", GLUELLM_ALLOW_ENV_FILE_BASE_URL: "true" }).providers.openai?.baseUrl,
    ).toBe("https://evil.example/v1");
  });

  test("the permission must not come from the same .env", () => {
    writeEnvFile("OPENAI_BASE_URL=https://evil.example/v1\nGLUELLM_ALLOW_ENV_FILE_BASE_URL=true\n");
    expect(faultsOf(() => load({ OPENAI_API_KEY: "sk-shell" }))).toContain("OPENAI_BASE_URL");
  });

  test.each([
    ["GLUELLM_REDIS_URL", "redis://evil.example"],
    ["REDIS_URL", "redis://evil.example"],
    ["GLUELLM_DATA_DIR", "/evil"],
    ["GLUELLM_DASHBOARD_HOST", "0.0.0.0"],
    ["GLUELLM_DASHBOARD_PASSWORD", "known-to-evil"],
  ])("a stranger's .env cannot choose %s beside the shell's key", (name, value) => {
    writeEnvFile(`${name}=${value}\n`);
    expect(faultsOf(() => load({ XAI_API_KEY: "sk-shell" }))).toContain(
      `${name}: comes from .env while XAI_API`,
    );
    expect(() => load({})).not.toThrow();
    expect(() => load({ XAI_API_KEY: "sk-shell", GLUELLM_TRUST_ENV_FILE: "true" })).not.toThrow();
    expect(() => load({ XAI_API_KEY: "sk-shell", [name]: value })).not.toThrow();
    writeEnvFile(`${name}=${value}\nXAI_API_KEY=sk-file\nGLUELLM_TRUST_ENV_FILE=true\n`);
    expect(() => load({})).not.toThrow();
    expect(faultsOf(() => load({ OPENAI_API_KEY: "sk-shell" }))).toContain(name);
  });

  test("an added provider in .env cannot borrow the shell's key either", () => {
    writeEnvFile(
      'GLUELLM_PROVIDERS={"mine":{"baseUrl":"https://evil.example","keyVariable":"OPENAI_API_KEY"}}\n',
    );
    expect(faultsOf(() => load({ OPENAI_API_KEY: "sk-shell" }))).toContain("GLUELLM_PROVIDERS");
  });

  test("a base URL with credentials is refused, and the message does not repeat them", () => {
    const message = faultsOf(() => load({ XAI_BASE_URL: "https://user:hunter2@host/v1" }));
    expect(message).toContain("XAI_BASE_URL");
    expect(message).not.toContain("hunter2");
  });
});

describe("providers", () => {
  test("added entries take their key variable from their name", () => {
    const { providers } = load({
      GLUELLM_PROVIDERS: '{"openai-eu":{"baseUrl":"https://eu.example/v1"}}',
      OPENAI_EU_API_KEY: "k",
    });
    expect(providers["openai-eu"]).toMatchObject({
      dialect: "openai",
      keyVariable: "OPENAI_EU_API_KEY",
      custom: true,
    });
  });

  test("a built-in name cannot be redefined", () => {
    expect(
      faultsOf(() => load({ GLUELLM_PROVIDERS: '{"openai":{"baseUrl":"https://x.example"}}' })),
    ).toContain("built in");
  });

  test("entries say what their requests hold, built-in ones too", () => {
    const added = {
      openrouter: { headers: { "HTTP-Referer": "https://a.example", "x-second-key": "hidden" } },
      openai: { dropParameters: ["temperature"] },
      azure: {
        baseUrl: "https://a.example",
        query: { "api-version": "1" },
        keyHeader: "api-key",
        cacheControl: "refuse",
      },
    };
    const settings = load({ GLUELLM_PROVIDERS: JSON.stringify(added) });
    const { openrouter, openai, azure } = settings.providers;
    expect(openrouter?.headers?.["http-referer"]?.reveal()).toBe("https://a.example");
    expect(openrouter).toMatchObject({ cacheControl: "send", baseUrl: "https://openrouter.ai/api/v1" });
    expect(openai).toMatchObject({ dropParameters: ["temperature"], tokenCharge: "requested" });
    expect(azure).toMatchObject(added.azure);
    expect(JSON.stringify(settings) + inspect(settings, { depth: 9 })).not.toContain("hidden");
  });

  test("an entry is known by the same mark as ever, and by its query", () => {
    const of = (row: object) =>
      fingerprint(
        load({ GLUELLM_PROVIDERS: JSON.stringify({ a: { baseUrl: "https://a.example", ...row } }) }).providers
          .a ?? fail(),
      );
    expect(of({})).toBe("879e383d7fa03540");
    expect(of({ headers: { "x-a": "b" }, dropParameters: ["n"] })).toBe(of({}));
    expect(of({ query: { "api-version": "1" } })).not.toBe(of({}));
  });

  test.each<[string, object]>([
    ["a.baseUrl: is missing", { a: {} }],
    ["a.headers", { a: { baseUrl: "https://a.example", headers: { Authorization: "Bearer x" } } }],
    ["a.headers", { a: { baseUrl: "https://a.example", headers: { Host: "b.example" } } }],
    ["a.headers", { a: { baseUrl: "https://a.example", headers: { "x-a": "b\n" } } }],
    ["a.dropParameters", { a: { baseUrl: "https://a.example", dropParameters: ["messages"] } }],
    ["a.maxTokensField", { a: { baseUrl: "https://a.example", maxTokensField: "tokens" } }],
    ["openai.keyVariable", { openai: { keyVariable: "OTHER_KEY" } }],
  ])("%s is a fault", (place, added) => {
    expect(faultsOf(() => load({ GLUELLM_PROVIDERS: JSON.stringify(added) }))).toContain(place);
  });

  test("a missing key names its variable", () => {
    const entry = load().providers.anthropic;
    expect(() => requireKey(entry ?? fail())).toThrow(/ANTHROPIC_API_KEY/);
  });

  test.each(["openai", "anthropic", "xai", "openrouter", "google"])(
    "%s takes its key in the usual name or the prefixed one, which wins",
    (name) => {
      const usual = `${name.toUpperCase()}_API_KEY`;
      const keyWith = (env: Record<string, string>) => requireKey(load(env).providers[name] ?? fail());
      expect(keyWith({ [usual]: "k" })).toBe("k");
      expect(keyWith({ [usual]: "k", [`GLUELLM_${usual}`]: "prefixed" })).toBe("prefixed");
    },
  );

  test("keys do not show in JSON, text or inspection", () => {
    const settings = load({ OPENAI_API_KEY: "sk-very-secret" });
    expect(
      JSON.stringify(settings) + inspect(settings, { depth: 9 }) + String(settings.providers.openai?.apiKey),
    ).not.toContain("sk-very-secret");
    expect(requireKey(settings.providers.openai ?? fail())).toBe("sk-very-secret");
  });
});

function fail(): never {
  throw new Error("missing entry");
}
