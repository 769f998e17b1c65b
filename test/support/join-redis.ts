/** A process of its own that joins or starts a data folder's Redis: `join-redis.ts <options as JSON>`. */
import { ensureEmbeddedRedis } from "../../src/embedded-redis/embedded-redis.ts";

const { socketPath } = await ensureEmbeddedRedis(JSON.parse(process.argv[2] ?? "{}"));
console.log(socketPath);
