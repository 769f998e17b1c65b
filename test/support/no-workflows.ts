/** A module of no workflows: a worker that has it runs the built-in patterns. */
export const nothing: readonly never[] = [];
