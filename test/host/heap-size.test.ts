import { expect, test } from "vitest";
import { outputOf } from "../support/processes.ts";

const HEAP = new URL("../../src/host/heap-size.ts", import.meta.url).href;
const MIB = 2 ** 20;

test("new objects have 16 MiB at once, and hardly more when 300 MB of them live for a while", async () => {
  const { begin, end } = await newSpaceOfWork();
  expect(begin).toBe(16 * MIB);
  expect(end).toBeLessThan(32 * MIB);
});

/** What new objects have in a process, before and after work whose objects live through several collections. */
async function newSpaceOfWork(): Promise<{ begin: number; end: number }> {
  const program = `
    import { getHeapSpaceStatistics } from "node:v8";
    const { boundHeap, widenNewSpace } = await import(${JSON.stringify(HEAP)});
    const size = () => getHeapSpaceStatistics().find(({ space_name }) => space_name === "new_space").space_size;
    boundHeap();
    widenNewSpace();
    const begin = size();
    const passing = [];
    for (let n = 0; n < 3_000; n++) {
      passing.push(Array.from({ length: 1_000 }, (_, m) => ({ m, list: [m, m + 1, m + 2] })));
      if (passing.length > 100) passing.shift();
    }
    console.log(JSON.stringify({ begin, end: size() }));
  `;
  return JSON.parse(await outputOf(process.execPath, ["--input-type=module", "-e", program]));
}
