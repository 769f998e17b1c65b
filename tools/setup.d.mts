/** A fault of the machine that the user can mend. */
export class SetupError extends Error {
  exitCode: number;
}
export function isSupportedNode(version: string): boolean;
export function isInstalled(folder: string): boolean;
/** Resolves with the full path of the Node.js to use. */
export function ensureSetup(options?: { root?: string; version?: string }): Promise<string>;
