import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const TOKEN = /^[0-9a-f]{64}$/;

/**
 * Returns the token without which nobody opens a dashboard that has no password, other users of this machine included:
 * the data folder's, made once and readable by its owner only.
 */
export function dashboardToken(dataDir: string): string {
  const path = join(dataDir, "dashboard-token");
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  try {
    // Whoever is first makes it, and the others read it.
    writeFileSync(path, randomBytes(32).toString("hex"), { mode: 0o600, flag: "wx" });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  const token = readFileSync(path, "utf8").trim();
  if (!TOKEN.test(token)) throw new Error(`${path} holds no token: remove it, and a new one is made`);
  return token;
}
