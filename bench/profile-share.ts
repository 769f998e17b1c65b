import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** What the profiler of V8 writes (`--cpu-prof`). */
interface Profile {
  nodes: { id: number; callFrame: { functionName: string; url: string }; children?: number[] }[];
  samples: number[];
}

/** The parts that are told apart, by their files. */
const PARTS: readonly [string, RegExp][] = [
  ["metrics", /src\/telemetry\/(metrics|histogram|outcome)|\/prom-client\//],
  [
    "logs",
    /src\/shared\/(logger|redaction|log-context)|src\/telemetry\/log-|src\/telemetry\/logging|\/node_modules\/(pino|safe-stable|sonic)/,
  ],
  ["traces", /src\/telemetry\/|\/@opentelemetry\/|src\/workers\/(job|call)-trace/],
];
/** What comes first is compiled while it runs. */
const WARM_UP_SHARE = 0.4;

/**
 * Returns how much more than without them the parts take of a profiled process' CPU: their samples, with the native code that they call,
 * in proportion to all others. What the machine does beside it falls on all samples alike. Garbage belongs to nobody.
 */
export function sharesOf(folder: string): Map<string, number> {
  const [name = ""] = readdirSync(folder);
  const profile = JSON.parse(readFileSync(join(folder, name), "utf8")) as Profile;
  const partOf = classifier(profile);
  const times = new Map<string, number>();
  // Samples, not the time between them, in which the machine may have done something else.
  for (const sample of profile.samples.slice(Math.floor(profile.samples.length * WARM_UP_SHARE))) {
    const part = partOf(sample);
    times.set(part, (times.get(part) ?? 0) + 1);
  }
  times.delete("(idle)");
  const rest = [...times].reduce(
    (sum, [part, time]) => (part.startsWith("(") || part === "other" ? sum + time : sum),
    0,
  );
  return new Map(PARTS.map(([part]) => [part, (times.get(part) ?? 0) / rest]));
}

/** A sample belongs to the part of the nearest frame that is of a file; what a part only calls does not. */
function classifier({ nodes }: Profile): (id: number) => string {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const parents = new Map(
    nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id] as const)),
  );
  const known = new Map<number, string>();
  const find = (id: number): string => {
    const own = byId.get(id)?.callFrame.functionName ?? "";
    if (/^\((idle|program|garbage collector)\)$/.test(own)) return own;
    for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) {
      const url = byId.get(at)?.callFrame.url ?? "";
      const part = PARTS.find(([, files]) => files.test(url));
      if (part) return part[0];
      if (/\/src\/|\/node_modules\//.test(url)) break;
    }
    return "other";
  };
  return (id) => {
    const part = known.get(id) ?? find(id);
    known.set(id, part);
    return part;
  };
}
