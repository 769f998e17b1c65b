import { Redis } from "ioredis";
import { expect, inject, onTestFinished, test } from "vitest";

import { MAX_QUESTIONS, SemanticIndex } from "../../src/store/semantic-index.ts";
import { storeUnder } from "../../src/store/store.ts";
import { testRedis } from "../support/redis.ts";
import { redis8, startRedis8 } from "../support/redis8.ts";

async function vectorRedis(): Promise<Redis> {
  const redis = new Redis(await startRedis8());
  onTestFinished(() => redis.disconnect());
  return redis;
}

function plainRedis(): Redis {
  const redis = testRedis();
  onTestFinished(() => redis.disconnect());
  return redis;
}

let scopes = 0;
const open = (redis: Redis) => {
  const store = storeUnder(redis, `{gluellm:index-${process.pid}-${++scopes}}`);
  return { store, index: new SemanticIndex(store) };
};

const unit = (...values: number[]) => {
  const length = Math.hypot(...values);
  return new Float32Array(values.map((value) => value / length));
};
const question = (digest: string) => ({ digest, text: `text ${digest}`, costUsd: 0.5 });

test.each([
  { where: "brute force", connect: () => Promise.resolve(plainRedis()), isSkipped: false },
  { where: "vector sets", connect: vectorRedis, isSkipped: redis8 === undefined },
])(
  "by $where the nearest come first, in their scope alone, until they are forgotten",
  async ({ connect, isSkipped }) => {
    if (isSkipped) return;
    const { store, index } = open(await connect());
    await index.add("one", question("a"), unit(1, 0, 0), 60);
    await index.add("one", question("b"), unit(1, 1, 0), 60);
    await index.add("one", question("c"), unit(0, 0, 1), 60);
    await index.add("two", question("d"), unit(1, 0, 0), 60);
    // Another process finds what this one added, and the other way round.
    for (const each of [index, new SemanticIndex(store)]) {
      const near = await each.nearest("one", unit(1, 0.1, 0), 0.5);
      expect(near.map(({ digest }) => digest)).toEqual(["a", "b"]);
      expect(near[0]).toMatchObject({ text: "text a", costUsd: 0.5, similarity: expect.closeTo(0.995, 3) });
      expect(await each.nearest("three", unit(1, 0, 0), 0)).toEqual([]);
      // Vectors of another model are no neighbours.
      expect(await each.nearest("one", unit(1, 0), 0)).toEqual([]);
    }
    await index.forget("one", "a");
    expect(
      (await new SemanticIndex(store).nearest("one", unit(1, 0.1, 0), 0.5)).map(({ digest }) => digest),
    ).toEqual(["b"]);
    const ttls = await Promise.all(
      [store.keys.semantic("one"), store.keys.semanticOrder("one")].map((key) => store.redis.pttl(key)),
    );
    for (const ttl of ttls) expect(ttl).toBeGreaterThan(50_000);
  },
);

test("what another process adds later is found too", async () => {
  const { store, index } = open(plainRedis());
  const other = new SemanticIndex(store);
  for (let n = 0; n < 5; n++) {
    await other.add("one", question(`q${n}`), unit(1, n, 0), 60);
    expect(await index.nearest("one", unit(1, n, 0), 0.9999)).toMatchObject([{ digest: `q${n}` }]);
  }
});

test.skipIf(!inject("isFull"))("beyond 10,000 questions of a scope the oldest go", async () => {
  const { store, index } = open(plainRedis());
  const other = new SemanticIndex(store);
  const count = MAX_QUESTIONS + 5;
  const at = (n: number) => unit(Math.cos(n / count), Math.sin(n / count));
  for (let n = 0; n < count; n++) await other.add("one", question(`q${n}`), at(n), 600);
  expect(await store.redis.hlen(store.keys.semantic("one"))).toBe(MAX_QUESTIONS);
  // Those of one millisecond count as equally old.
  const early = Array.from({ length: 500 }, (_, n) => `q${n}`);
  const kept = await store.redis.hmget(store.keys.semantic("one"), ...early);
  expect(kept.filter((text) => text === null)).toHaveLength(5);
  expect((await index.nearest("one", at(count - 1), 0.9))[0]?.similarity).toBeCloseTo(1, 6);
  await store.redis.unlink(store.keys.semantic("one"), store.keys.semanticOrder("one"));
});
