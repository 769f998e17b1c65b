const CREATED_AT = new Date("2026-01-01T00:00:00Z");

/** Returns one body for both dialects' `GET /v1/models`: each SDK reads its own fields. */
export function modelList(): object {
  const demo = {
    id: "demo",
    object: "model",
    type: "model",
    display_name: "Simulated model",
    owned_by: "gluellm-simulator",
    created: CREATED_AT.getTime() / 1000,
    created_at: CREATED_AT.toISOString(),
  };
  return { object: "list", data: [demo], has_more: false, first_id: demo.id, last_id: demo.id };
}
