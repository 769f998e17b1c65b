import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";

interface Value {
  stringValue?: string;
  intValue?: number | string;
  doubleValue?: number;
  boolValue?: boolean;
  arrayValue?: { values?: Value[] };
}

/** A span as a collector gets it, in OTLP's JSON. */
export interface ReceivedSpan {
  name: string;
  traceId: string;
  spanId: string;
  parentSpanId: string;
  /** 1 internal, 2 server, 3 client, 4 producer, 5 consumer. */
  kind: number;
  startMs: number;
  endMs: number;
  attributes: Record<string, unknown>;
  links: { traceId: string; spanId: string }[];
  status: { code?: number; message?: string };
  service: string;
}

/** A collector in this process: takes OTLP over HTTP, and keeps the spans. */
export class OtlpReceiver implements AsyncDisposable {
  readonly spans: ReceivedSpan[] = [];
  /** Of each request for traces. */
  readonly headers: IncomingHttpHeaders[] = [];
  /** Other requests, as MLflow gets them. */
  readonly others: { method: string; url: string; body: unknown }[] = [];
  /** What they are answered with, by their path. */
  answers: Record<string, { status: number; body: object }> = {};
  readonly #server = createServer((request, response) => {
    void (async () => {
      const { method = "", url = "", headers } = request;
      const body = method === "POST" ? await json(request) : undefined;
      if (url.endsWith("/v1/traces")) {
        this.headers.push(headers);
        this.spans.push(...spansOf(Object(body)));
        response.setHeader("content-type", "application/json").end("{}");
        return;
      }
      this.others.push({ method, url, body });
      const answer = this.answers[new URL(url, "http://x").pathname] ?? { status: 404, body: {} };
      response
        .writeHead(answer.status, { "content-type": "application/json" })
        .end(JSON.stringify(answer.body));
    })();
  });

  static async open(): Promise<OtlpReceiver> {
    const receiver = new OtlpReceiver();
    await new Promise<void>((resolve) => receiver.#server.listen(0, "127.0.0.1", resolve));
    return receiver;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  named(name: string | RegExp): ReceivedSpan[] {
    return this.spans.filter((span) =>
      typeof name === "string" ? span.name === name : name.test(span.name),
    );
  }

  /** The one span of a name. */
  one(name: string | RegExp): ReceivedSpan {
    const [span, ...more] = this.named(name);
    if (!span || more.length > 0)
      throw new Error(`${more.length + (span ? 1 : 0)} spans are named ${name}: ${this.tree()}`);
    return span;
  }

  /** The spans of each trace, one under the other. */
  tree(): string {
    const lines = (parent: string, depth: number): string[] =>
      this.spans
        .filter(({ parentSpanId, spanId }) =>
          parent === ""
            ? !this.spans.some((span) => span.spanId === parentSpanId)
            : parentSpanId === parent && spanId !== parent,
        )
        .toSorted((a, b) => a.startMs - b.startMs)
        .flatMap((span) => [`${"  ".repeat(depth)}${span.name}`, ...lines(span.spanId, depth + 1)]);
    return lines("", 0).join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** OTLP's JSON, as far as it is looked at. */
interface Exported {
  resourceSpans?: {
    resource: { attributes?: KeyValue[] };
    scopeSpans: {
      spans: (Omit<ReceivedSpan, "attributes"> & {
        attributes?: KeyValue[];
        startTimeUnixNano: string;
        endTimeUnixNano: string;
      })[];
    }[];
  }[];
}

interface KeyValue {
  key: string;
  value: Value;
}

function spansOf({ resourceSpans = [] }: Exported): ReceivedSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap(({ spans }) =>
      spans.map((span) => ({
        ...span,
        parentSpanId: span.parentSpanId ?? "",
        startMs: Number(span.startTimeUnixNano) / 1e6,
        endMs: Number(span.endTimeUnixNano) / 1e6,
        attributes: attributesOf(span.attributes),
        links: span.links ?? [],
        status: span.status ?? {},
        service: String(attributesOf(resource.attributes)["service.name"]),
      })),
    ),
  );
}

function attributesOf(attributes: readonly KeyValue[] = []): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, plain(value)]));
}

function plain({ stringValue, intValue, doubleValue, boolValue, arrayValue }: Value): unknown {
  if (arrayValue) return (arrayValue.values ?? []).map(plain);
  return stringValue ?? boolValue ?? doubleValue ?? Number(intValue);
}
