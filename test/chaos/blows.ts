import { writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import type { Simulator } from "../../src/simulator/simulator.ts";
import type { SmallDisk } from "../support/small-disk.ts";
import type { Fleet } from "./fleet.ts";
import { DISK_SIZE, type StruckRedis } from "./struck-redis.ts";

/** What is struck in a round. */
interface Struck {
  /** Draws a whole number from 0 to below this one. */
  draw: (below: number) => number;
  fleet: Fleet;
  redis: StruckRedis;
  simulator: Simulator;
  /** That of the files; undefined where it cannot be filled. */
  disk: SmallDisk | undefined;
  /** The files that say by how many ms the clocks of workers are wrong. */
  clocks: readonly string[];
  /** When the provider's last outage ended. */
  outageEndedAt?: number;
}

interface Blow {
  /** How often, of 100 blows. */
  weight: number;
  /** Its name in the report, unless it is a death. */
  trouble?: string;
  /** Whether this machine lets it happen; it does by default. */
  isPossible?: (struck: Struck) => boolean;
  strike: (struck: Struck) => unknown;
}

const PASSING_MS = 1500;
const MAX_CLOCK_OFF_MS = 5000;
/** A call has three attempts: two outages within them would end it, and rightly. */
const BETWEEN_OUTAGES_MS = 10_000;
const OUTAGES = ["refuse", "503", "hang"] as const;

const BLOWS: readonly Blow[] = [
  { weight: 50, strike: ({ fleet }) => fleet.kill() },
  { weight: 10, strike: ({ fleet }) => fleet.killAtPoint() },
  {
    weight: 8,
    strike: async ({ fleet, redis, draw }) => {
      await redis.kill(draw(500));
      fleet.count("redis");
    },
  },
  { weight: 6, trouble: "stopped", strike: ({ fleet }) => fleet.stop() },
  { weight: 4, trouble: "connections cut", strike: ({ redis }) => redis.cut() },
  { weight: 4, trouble: "redis frozen", strike: ({ redis }) => redis.freeze(PASSING_MS) },
  { weight: 4, trouble: "redis full", strike: ({ redis }) => redis.fillMemory(PASSING_MS) },
  {
    weight: 3,
    trouble: "disk of redis full",
    isPossible: ({ redis }) => redis.hasDisk,
    strike: ({ redis, draw }) => redis.fillDisk(PASSING_MS, draw(2) === 0),
  },
  { weight: 3, trouble: "disk full", isPossible: ({ disk }) => disk !== undefined, strike: fillDisk },
  { weight: 5, trouble: "clock set", strike: setClock },
  { weight: 3, trouble: "provider away", isPossible: isApart, strike: breakProvider },
];

/** What befalls a round: which of it, and when, follows from a seed. Returns the troubles, by kind, after so many deaths. */
export async function strike(struck: Struck, deaths: number): Promise<Record<string, number>> {
  const { draw, fleet } = struck;
  const troubles: Record<string, number> = {};
  while (fleet.deathCount < deaths) {
    await delay(100 + draw(500));
    const blow = drawnBlow(draw);
    if (blow.isPossible?.(struck) === false) continue;
    await blow.strike(struck);
    if (blow.trouble) troubles[blow.trouble] = (troubles[blow.trouble] ?? 0) + 1;
  }
  await fleet.allGoOn();
  return troubles;
}

function drawnBlow(draw: Struck["draw"]): Blow {
  let lot = draw(100);
  const blow = BLOWS.find(({ weight }) => {
    lot -= weight;
    return lot < 0;
  });
  if (!blow) throw new Error("the weights of all blows are 100 together");
  return blow;
}

async function fillDisk({ disk }: Struck): Promise<void> {
  disk?.fill();
  await delay(PASSING_MS);
  disk?.resize(DISK_SIZE);
}

function clockOff(draw: Struck["draw"]): number {
  return draw(2 * MAX_CLOCK_OFF_MS + 1) - MAX_CLOCK_OFF_MS;
}

function setClock({ clocks, draw }: Struck): void {
  const clock = clocks[draw(clocks.length)];
  if (clock) writeFileSync(clock, String(clockOff(draw)));
}

function isApart({ outageEndedAt = 0 }: Struck): boolean {
  return Date.now() - outageEndedAt > BETWEEN_OUTAGES_MS;
}

async function breakProvider(struck: Struck): Promise<void> {
  const { simulator, draw } = struck;
  simulator.setOutage({ forMs: PASSING_MS, kind: OUTAGES[draw(OUTAGES.length)] });
  await delay(PASSING_MS);
  struck.outageEndedAt = Date.now();
}
