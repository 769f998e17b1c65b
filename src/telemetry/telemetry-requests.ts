import { timingSafeEqual } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { z } from "zod";
import { didYouMean, hintOf } from "../shared/did-you-mean.ts";
import { sha256 } from "../shared/digest.ts";
import { hostnameOf } from "../shared/host-name.ts";
import { isLoopback } from "../shared/loopback.ts";
import { CONTENT_TYPE, metricsPage, type TelemetrySource } from "./metrics-page.ts";
import { readScale, TARGET_SECONDS } from "./scale.ts";

/** Each with the parameters that it takes. */
const PATHS: ReadonlyMap<string, readonly string[]> = new Map([
  ["/metrics", ["fleet"]],
  ["/scale", ["queue", "targetSeconds", "concurrency"]],
]);

/** Headers by which a proxy says for whom it asks. */
const FORWARDED = /^(forwarded|x-forwarded-.*|x-real-ip|via)$/;

export interface TelemetryAccess {
  /** Where the server listens. */
  host: string;
  /** What others than this machine have to show; undefined: they get nothing. */
  token: string | undefined;
}

/** Returns whether a request is one for metrics or for an autoscaler's signal. */
export function isTelemetry({ method, url = "" }: IncomingMessage): boolean {
  return (method === "GET" || method === "HEAD") && PATHS.has(url.split("?", 1)[0] ?? "");
}

/**
 * Returns whether a request may see them. With a token it must be shown. Without one only who is on this machine sees them, where the
 * server listens on loopback and no proxy asks for somebody else.
 */
export function mayRead({ headers, socket }: IncomingMessage, { host, token }: TelemetryAccess): boolean {
  if (token !== undefined) {
    const shown = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? "")?.[1];
    return shown !== undefined && isSame(shown, token);
  }
  const isForwarded = Object.keys(headers).some((name) => FORWARDED.test(name));
  // A web page reaches loopback by a name of its own.
  const isOwnName = isLoopback(hostnameOf(headers.host) ?? "");
  return isLoopback(host) && isLoopback(socket.remoteAddress ?? "") && isOwnName && !isForwarded;
}

function isSame(shown: string, token: string): boolean {
  return timingSafeEqual(Buffer.from(sha256(shown)), Buffer.from(sha256(token)));
}

const fleetSchema = z.enum(["true", "false"]).optional();
const scaleSchema = z.object({
  queue: z.array(z.string().min(1).max(500)).max(100),
  targetSeconds: z.coerce.number().min(1).max(86_400).default(TARGET_SECONDS),
  concurrency: z.coerce.number().int().min(1).max(10_000).optional(),
});

/** Answers `GET /metrics` and `GET /scale` to a caller who may read them. */
export async function answerTelemetry(
  request: IncomingMessage,
  response: ServerResponse,
  source: TelemetrySource,
): Promise<void> {
  const { pathname, searchParams } = new URL(request.url ?? "", "http://localhost");
  const known = PATHS.get(pathname) ?? [];
  const unknown = [...searchParams.keys()].find((name) => !known.includes(name));
  if (unknown !== undefined)
    return answerText(
      response,
      400,
      `${pathname} has no parameter ${unknown.slice(0, 100)}: ${hintOf(didYouMean(unknown, known), `it takes ${known.join(", ")}`)}`,
    );
  if (pathname === "/metrics") {
    const fleet = fleetSchema.safeParse(searchParams.get("fleet") ?? undefined);
    if (!fleet.success) return answerText(response, 400, "fleet must be true or false");
    const part = fleet.data === undefined ? "elected" : fleet.data === "true" ? "always" : "never";
    return send(response, 200, CONTENT_TYPE, await metricsPage(source, part));
  }
  const asked = scaleSchema.safeParse({
    queue: searchParams.getAll("queue"),
    targetSeconds: searchParams.get("targetSeconds") ?? undefined,
    concurrency: searchParams.get("concurrency") ?? undefined,
  });
  if (!asked.success) {
    const [issue] = asked.error.issues;
    return answerText(response, 400, `${issue?.path.join(".")}: ${issue?.message}`);
  }
  const { queue, targetSeconds, concurrency } = asked.data;
  const queues = queue.length > 0 ? queue : undefined;
  try {
    const signal = await readScale(source.store, source.settings, { queues, targetSeconds, concurrency });
    send(response, 200, "application/json; charset=utf-8", `${JSON.stringify(signal)}\n`);
  } catch {
    // An autoscaler that is told nothing leaves the workers as they are.
    answerText(response, 503, "Redis does not answer");
  }
}

/** Answers with a line of text. */
export function answerText(response: ServerResponse, status: number, text: string): void {
  send(response, status, "text/plain; charset=utf-8", `${text}\n`);
}

function send(response: ServerResponse, status: number, type: string, text: string): void {
  response.writeHead(status, { "content-type": type, "cache-control": "no-store" }).end(text);
}
