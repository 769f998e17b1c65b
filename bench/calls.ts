/** A question of its own for each number. */
export const sumQuestion = (n: number) => `Question ${n}: what is ${n} plus ${n * 3}? Explain in a sentence.`;

/**
 * Makes calls, so many at a time, each of which returns its answer's text. Returns how long all took, in milliseconds.
 * @throws Error when a call brings no text
 */
export async function callsAtATime(
  width: number,
  count: number,
  call: (n: number) => Promise<string | null | undefined>,
): Promise<number> {
  const startedAt = performance.now();
  let next = 0;
  const caller = async () => {
    for (let n = next++; n < count; n = next++)
      if (!(await call(n))) throw new Error(`call ${n} brought no answer`);
  };
  await Promise.all(Array.from({ length: width }, caller));
  return performance.now() - startedAt;
}

/** Returns what tells the milliseconds of CPU that this process has used since now. */
export function cpuSince(): () => number {
  const before = process.cpuUsage();
  return () => {
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000;
  };
}
