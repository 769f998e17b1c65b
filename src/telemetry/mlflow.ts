import { GlueError } from "../shared/errors.ts";

const TIMEOUT_MS = 10_000;

export interface MlflowOptions {
  trackingUri: string;
  experimentName: string;
  /** Sent as a bearer token. */
  token?: string | undefined;
}

/** Where MLflow takes traces. */
export function mlflowTracesUrl({ trackingUri }: MlflowOptions): string {
  return withoutCredentials(trackingUri, "/v1/traces").href;
}

/**
 * Returns what gives the headers of each export: the experiment's id, which is asked for once, and made where there is none.
 * What the server cannot say now, the next export asks again.
 */
export function mlflowHeaders(options: MlflowOptions): () => Promise<Record<string, string>> {
  let id: Promise<string> | undefined;
  return async () => {
    id ??= experimentId(options).catch((error) => {
      id = undefined;
      throw error;
    });
    return { ...authorizationOf(options), "x-mlflow-experiment-id": await id };
  };
}

async function experimentId(options: MlflowOptions): Promise<string> {
  const { experimentName } = options;
  const known = await knownId(options);
  if (known !== undefined) return known;
  const body = JSON.stringify({ name: experimentName });
  const init = { method: "POST", body };
  const made = await ask(options, "/api/2.0/mlflow/experiments/create", init).catch(async (error: Error) => {
    // Another process of the fleet made it meanwhile.
    const experiment_id = await knownId(options);
    if (experiment_id === undefined) throw error;
    return { experiment_id };
  });
  if (made?.experiment_id === undefined) throw noExperiment(experimentName);
  return String(made.experiment_id);
}

async function knownId(options: MlflowOptions): Promise<string | undefined> {
  const query = new URLSearchParams({ experiment_name: options.experimentName });
  const found = await ask(options, `/api/2.0/mlflow/experiments/get-by-name?${query}`);
  const id = Object(found?.experiment).experiment_id as unknown;
  return id === undefined ? undefined : String(id);
}

/** Undefined: there is none. */
async function ask(
  options: MlflowOptions,
  path: string,
  init: RequestInit = {},
): Promise<Record<string, unknown> | undefined> {
  const response = await fetch(withoutCredentials(options.trackingUri, path), {
    ...init,
    headers: { "content-type": "application/json", ...authorizationOf(options) },
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  if (response.status === 404) return undefined;
  if (!response.ok) throw noExperiment(options.experimentName, response.status);
  return (await response.json()) as Record<string, unknown>;
}

function authorizationOf({ trackingUri, token }: MlflowOptions): Record<string, string> {
  if (token !== undefined) return { authorization: `Bearer ${token}` };
  const { username, password } = new URL(trackingUri);
  if (!username) return {};
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { authorization: `Basic ${Buffer.from(credentials).toString("base64")}` };
}

function withoutCredentials(uri: string, path: string): URL {
  const url = new URL(uri.replace(/\/+$/, "") + path);
  url.username = "";
  url.password = "";
  return url;
}

function noExperiment(name: string, status?: number): GlueError {
  return new GlueError({
    code: "mlflow_unavailable",
    category: "connection",
    message: `MLflow does not tell the id of the experiment "${name}"${status ? ` (status ${status})` : ""}`,
    hint: "check MLFLOW_TRACKING_URI; it takes traces from version 3.6 on, with a database as its store",
    ...(status !== undefined && { status }),
  });
}
