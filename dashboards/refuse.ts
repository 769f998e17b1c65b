import type { Response } from "express";

/** Refuses a request: in JSON where a program reads the answer, else as a line of text. */
export function refuse(response: Response, status: number, code: string, message: string): void {
  const { req: request } = response;
  response.status(status).set("cache-control", "no-store");
  const isForPrograms =
    /^\/(queues\/)?api\//.test(request.originalUrl) || request.accepts(["html", "json"]) === "json";
  if (!isForPrograms) response.type("text").send(`${message[0]?.toUpperCase()}${message.slice(1)}\n`);
  else response.json({ error: { message, type: typeOf(status), param: null, code } });
}

function typeOf(status: number): string {
  if (status === 401) return "authentication_error";
  if (status === 403) return "permission_error";
  if (status === 429) return "rate_limit_error";
  return status < 500 ? "invalid_request_error" : "server_error";
}
