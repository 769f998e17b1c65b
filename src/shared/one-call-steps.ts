/** The head of names that stand for the functions of one call: they live as long as the call. */
const OF_ONE_CALL = "call-";

/** Returns a name for the functions of one call. */
export function nameOfOneCall(uuid: string): string {
  return `${OF_ONE_CALL}${uuid}`;
}

/** Whether a name stands for the functions of one call. */
export function isOfOneCall(name: string | undefined): boolean {
  return name?.startsWith(OF_ONE_CALL) === true;
}
