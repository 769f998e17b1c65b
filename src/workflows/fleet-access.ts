import type { Redis } from "ioredis";
import type { ProducerQueues } from "../producers/queues.ts";
import type { Logger } from "../shared/logger.ts";
import type { Settings } from "../shared/settings.ts";
import type { RedisKeys } from "../store/redis-keys.ts";

/** What runs are started, driven and followed with. */
export interface FleetAccess {
  redis: Redis;
  keys: RedisKeys;
  settings: Settings;
  queues: ProducerQueues;
  logger: Logger;
}
