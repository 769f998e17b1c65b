import { expect, test } from "vitest";
import { readGroupUrl } from "../../src/shared/redis-url.ts";
import { loadSettings } from "../../src/shared/settings.ts";

test.each([
  [
    "redis+sentinel://a:26380,b/main",
    {
      ...{ kind: "sentinel", isTls: false, name: "main", database: 0 },
      hosts: [
        { host: "a", port: 26_380 },
        { host: "b", port: 26_379 },
      ],
    },
  ],
  [
    "rediss+sentinel://me:s%40fe@10.0.0.1/main/3?sentinelUsername=s&sentinelPassword=p%3Aw",
    {
      ...{ kind: "sentinel", isTls: true, name: "main", database: 3, username: "me", password: "s@fe" },
      ...{ hosts: [{ host: "10.0.0.1", port: 26_379 }], sentinelUsername: "s", sentinelPassword: "p:w" },
    },
  ],
  [
    "redis+cluster://:word@[::1]:7000,node-2.internal",
    {
      ...{ kind: "cluster", isTls: false, password: "word" },
      hosts: [
        { host: "::1", port: 7000 },
        { host: "node-2.internal", port: 6379 },
      ],
    },
  ],
])("%s", (url, group) => {
  expect(readGroupUrl(url)).toEqual(group);
});

test.each([
  ["redis+sentinel://a:26379,b:26379", "lacks the name"],
  ["redis+sentinel:///main", "write redis+sentinel://"],
  ["redis+sentinel://a:b/main", "names a host that is none"],
  ["redis+sentinel://a:99999/main", "names a host that is none"],
  ["redis+sentinel://a,,b/main", "names a host that is none"],
  ["redis+sentinel://a/main/x", "no database"],
  ["redis+cluster://a:7000/1", "has one alone"],
  ["redis+rings://a", "must start with"],
])("%s is refused at the start, without its password", (url, fault) => {
  const secret = url.replace("://", "://:s3cret@");
  for (const GLUELLM_REDIS_URL of [url, secret]) {
    const load = () => loadSettings({ env: { GLUELLM_REDIS_URL }, cwd: "/" });
    expect(load).toThrow(fault);
    expect(load).not.toThrow("s3cret");
  }
});
