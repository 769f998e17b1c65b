/** `1,200`. */
export function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

/** `1 job`, `1,200 jobs`. */
export function counted(value: number, noun: string, plural = `${noun}s`): string {
  return `${count(value)} ${value === 1 ? noun : plural}`;
}
