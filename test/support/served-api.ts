import type { SimulatorOptions } from "../../src/simulator/simulator.ts";
import type { StartedProcess } from "./processes.ts";
import { TestSite } from "./site.ts";
import { waitFor } from "./wait-for.ts";

export interface ServedApi {
  site: TestSite;
  /** Its address with `/v1`, and a key that may do everything. */
  baseURL: string;
  apiKey: string;
  process: StartedProcess;
}

const LINE = /^export OPENAI_BASE_URL=(\S+) OPENAI_API_KEY=(gk_\S+)$/m;

/** A site whose API is served by a process, beside a worker process; the caller disposes of the site. */
export async function serveApi(
  options: SimulatorOptions = {},
  env: Record<string, string> = {},
  isWorking = true,
): Promise<ServedApi> {
  const site = await TestSite.open(options, { GLUELLM_DEFAULT_MODEL: "simulator:test", ...env });
  if (isWorking) site.start("worker");
  return { site, ...(await startServer(site)) };
}

/** Starts an API process of a site. */
export async function startServer(site: TestSite, ...args: string[]): Promise<Omit<ServedApi, "site">> {
  const process = site.start("api", "--port", "0", ...args);
  await waitFor("the API", () => {
    if (process.child.exitCode !== null) throw new Error(process.stderr());
    return LINE.test(process.stderr());
  });
  const [, baseURL = "", apiKey = ""] = LINE.exec(process.stderr()) ?? [];
  return { process, baseURL, apiKey };
}
