import { Readable } from "node:stream";
import type { GlueLLM } from "../../src/index.ts";
import { dialectOf, goodBody, WIRES, type Wire } from "./provider.ts";
import { startScriptedAimock } from "./scripted-aimock.ts";
import { TestSite } from "./site.ts";
import { deadUrl, sendJson, wireServer } from "./wire-server.ts";

export const KINDS = ["simulator", "aimock"] as const;

export interface FeatureProvider {
  /** The entry's name; it takes any model. */
  entry: string;
  wire: Wire;
  kind: (typeof KINDS)[number];
}

export const featureProvider = (kind: FeatureProvider["kind"], wire: Wire): FeatureProvider => ({
  entry: `${kind}-${wire}`,
  wire,
  kind,
});
const FEATURE_PROVIDERS = KINDS.flatMap((kind) => WIRES.map((wire) => featureProvider(kind, wire)));

/** A model that always answers `SPARE_REPLY`, and one where nobody listens. */
export const SPARE = "spare:any";
export const SPARE_REPLY = "from the spare";
export const DOWN = "down:any";

const PRICE = { inputPerMillion: 10, outputPerMillion: 100 };
/** USD of so many tokens, of every model here. */
export const costOf = ({ prompt, completion }: { prompt: number; completion: number }) =>
  (prompt * PRICE.inputPerMillion + completion * PRICE.outputPerMillion) / 1e6;

/** The body of a request, as far as the suite looks at it; the input items of Responses are its messages. */
export interface SentBody {
  system?: { text: string }[];
  messages: SentMessage[];
  [field: string]: unknown;
}
interface SentMessage {
  role: string;
  // biome-ignore lint/suspicious/noExplicitAny: a text, or blocks of any dialect
  content: any;
  [field: string]: unknown;
}

/** A provider, and a client of the fleet that asks it. */
interface Subject extends FeatureProvider {
  glue: GlueLLM;
  /** A client that works itself, on the queue of this model alone; the caller closes it. */
  localClient(model: string): GlueLLM;
  /** The bodies of the requests that hold this text. */
  sent(text: string): SentBody[];
}

/** Fails unless the feature works with the provider. */
export type Feature = (subject: Subject) => Promise<void>;

export interface FeatureSite extends AsyncDisposable {
  site: TestSite;
  /** The bodies of the requests that hold this text, as they went to the provider. */
  sent(provider: FeatureProvider, text: string): SentBody[];
}

/**
 * All of the providers for one fleet, each behind a server that sees what is sent. Both kinds follow scripts alone: what
 * the simulator does by itself, and aimock cannot (answers by schema, limits and their headers), is tested elsewhere.
 */
export async function openFeatureSite(): Promise<FeatureSite> {
  await using parts = new AsyncDisposableStack();
  const listen = (handle: Parameters<typeof wireServer>[0]) =>
    wireServer(handle, (close) => void parts.defer(close));
  const env: Record<string, string> = {};
  const site = parts.use(await TestSite.open({}, env));
  const spare = await listen((response) => sendJson(response, goodBody("openai", SPARE_REPLY)));
  const entries: Record<string, object> = {
    spare: { baseUrl: `${spare.url}/v1`, keyOptional: true },
    down: { baseUrl: `${await deadUrl()}/v1`, keyOptional: true },
  };
  const bodies: Record<string, { body: string }[]> = {};
  for (const { entry, wire, kind } of FEATURE_PROVIDERS) {
    const dialect = dialectOf(wire);
    const mock = kind === "aimock" ? await startScriptedAimock(dialect) : undefined;
    if (mock) parts.defer(() => mock.stop());
    const { url, requests } = await listen(passOnTo(mock?.url ?? site.simulator.url));
    bodies[entry] = requests;
    const api = wire === "responses" ? { api: wire } : {};
    entries[entry] = {
      dialect,
      baseUrl: dialect === "openai" ? `${url}/v1` : url,
      keyOptional: true,
      ...api,
    };
  }
  // The site reads them when it starts a process.
  env.GLUELLM_PROVIDERS = JSON.stringify(entries);
  env.GLUELLM_PRICES = JSON.stringify({ "*": PRICE });
  const opened = parts.move();
  return {
    site,
    sent: ({ entry }, text) =>
      (bodies[entry] ?? [])
        .filter(({ body }) => body.includes(text))
        .map(({ body }) => JSON.parse(body))
        .map((body) => ({ ...body, messages: body.messages ?? body.input })),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

/** Requests go on as they are, and answers come back as they come. */
function passOnTo(upstream: string): Parameters<typeof wireServer>[0] {
  return async (response, { path, headers, body }) => {
    const { host: _host, connection: _connection, "content-length": _length, ...rest } = headers;
    const request = { method: "POST", headers: rest as Record<string, string>, body };
    const answer = await fetch(`${upstream}${path}`, request).catch(() => undefined);
    if (!answer) return response.destroy();
    response.writeHead(answer.status, Object.fromEntries(answer.headers));
    return answer.body ? Readable.fromWeb(answer.body).pipe(response) : response.end();
  };
}
