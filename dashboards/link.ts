import { randomBytes, timingSafeEqual } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Request, RequestHandler } from "express";
import { sha256 } from "../src/shared/digest.ts";

const TOKEN = /^[0-9a-f]{64}$/;
const COOKIE_SECONDS = 30 * 24 * 3600;

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

/**
 * Lets in who opens the link with the token, whose browser keeps it as a cookie from then on, or who sends the token as
 * `Authorization: Bearer …`.
 */
export function guardByLink(token: string): RequestHandler {
  return (request, response, next) => {
    const url = new URL(request.originalUrl, "http://dashboard");
    // Cookies are shared by all ports of a machine.
    const cookie = `gluellm-${request.socket.localPort}`;
    if (isSame(url.searchParams.get("token"), token)) {
      url.searchParams.delete("token");
      const options = {
        httpOnly: true,
        sameSite: "strict",
        maxAge: COOKIE_SECONDS * 1000,
        path: "/",
      } as const;
      response.cookie(cookie, token, options).redirect(303, `${url.pathname}${url.search}`);
    } else if (isSame(cookieOf(request, cookie), token) || isSame(bearerOf(request), token)) next();
    else {
      const hint =
        "Open the link that `gluellm dashboard`, `up` or `quickstart` prints: it holds the token.\n";
      response.status(401).type("text").send(hint);
    }
  };
}

function isSame(given: string | null | undefined, token: string): boolean {
  return given != null && timingSafeEqual(Buffer.from(sha256(given)), Buffer.from(sha256(token)));
}

function bearerOf({ headers }: Request): string | undefined {
  return /^Bearer +(\S+)$/i.exec(headers.authorization ?? "")?.[1];
}

function cookieOf({ headers }: Request, name: string): string | undefined {
  const pairs = (headers.cookie ?? "").split(";").map((pair) => pair.trim());
  return pairs.find((pair) => pair.startsWith(`${name}=`))?.slice(name.length + 1);
}
