import { repliesOf } from "./redis.ts";
import type { Store } from "./store.ts";

export interface NamespaceKey {
  key: string;
  /** What comes after the prefix, at its colons: `result`, `<jobId>`. */
  parts: string[];
  /** In the words of Redis: `string`, `hash`, `list`, `set`, `zset`, `stream`. */
  type: string;
}

const PAGE = 1000;

/** All keys of a namespace; one that is written meanwhile may be left out, one may come twice. */
export async function* namespaceKeys({ redis, keys }: Store): AsyncGenerator<NamespaceKey> {
  const match = `${keys.prefix.replace(/[\\*?[\]]/g, "\\$&")}:*`;
  for await (const page of redis.scanStream({ match, count: PAGE })) {
    const names = page as string[];
    if (names.length === 0) continue;
    const pipeline = redis.pipeline();
    for (const name of names) pipeline.type(name);
    const types = (await repliesOf(pipeline)) as string[];
    for (const [n, key] of names.entries())
      yield { key, parts: key.slice(keys.prefix.length + 1).split(":"), type: types[n] ?? "none" };
  }
}
