/** The value as it will be read again. @throws TypeError for what JSON cannot hold. */
export function asJson(value: unknown): unknown {
  return value === undefined ? undefined : JSON.parse(JSON.stringify(value) ?? "null");
}
