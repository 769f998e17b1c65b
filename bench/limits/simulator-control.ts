/** One call as the simulator saw it. */
export interface Arrival {
  n: number;
  /** Epoch milliseconds with fractions. */
  at: number;
  model: string;
  lastUserText: string;
  status: number | null;
  fault: string | null;
  /** Charged to the limits; 0 when refused. */
  tokens: number;
  promptTokens: number;
  completionTokens: number;
  /** Refused by the limits. */
  isLimited: boolean;
}

type Entry = Omit<Arrival, "tokens" | "isLimited">;

/** The control endpoints of a simulator in another process. */
export class SimulatorControl {
  readonly #url: string;

  constructor(url: string) {
    this.#url = `${url}/_simulator`;
  }

  async set(what: "limits" | "latency" | "faults" | "outage" | "reset", body: object): Promise<void> {
    const headers = { "content-type": "application/json" };
    const reply = await fetch(`${this.#url}/${what}`, {
      method: "POST",
      headers,
      body: JSON.stringify(body),
    });
    if (!reply.ok) throw new Error(`simulator ${what}: ${await reply.text()}`);
  }

  /** The calls to one model, or all, in order of arrival. */
  async arrivals(model?: string): Promise<Arrival[]> {
    const found: Arrival[] = [];
    for (let since = 0, more = true; more; ) {
      const reply = await fetch(`${this.#url}/journal?since=${since}`);
      const page = (await reply.json()) as { entries: Entry[]; more: boolean };
      found.push(
        ...page.entries.filter((entry) => model === undefined || entry.model === model).map(toArrival),
      );
      since = page.entries.at(-1)?.n ?? since;
      more = page.more;
    }
    return found;
  }
}

function toArrival(entry: Entry): Arrival {
  const { promptTokens, completionTokens, status, fault } = entry;
  return { ...entry, tokens: promptTokens + completionTokens, isLimited: status === 429 && fault === null };
}
