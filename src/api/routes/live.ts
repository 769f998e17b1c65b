import { changeFeedOf } from "../../store/change-feed.ts";
import type { ConnectedStore } from "../../store/connected-store.ts";
import { ApiError } from "../api-error.ts";
import { EventStream } from "../event-stream.ts";
import { type Call, defineRoute, type RouteGroup } from "../route.ts";

/** Streams of one process, and those among them of one key or session. */
const MAX_STREAMS = 500;
const MAX_OF_ONE = 50;
/** Then it is asked for again, so that who may watch is looked at anew. */
const LIFE_MS = 600_000;

/** Who watches, by a key's id; sessions without a key are one. */
const watching = new WeakMap<ConnectedStore, Map<string, number>>();

/** `/api/live`: that something has changed. */
export const liveRoutes: RouteGroup = {
  name: "operations",
  basePath: "/api",
  dialect: "openai",
  routes: [
    defineRoute({
      method: "get",
      path: "/live",
      summary:
        "Streams server-sent events `changed` while jobs, runs, batches or the fleet change, two a second at most. They say nothing of what: ask again for what is shown.",
      scope: "read",
      answerType: "text/event-stream",
      handle: follow,
    }),
  ],
};

async function follow(call: Call): Promise<undefined> {
  const { context, principal, response } = call;
  const end = AbortSignal.any([call.signal, context.draining, AbortSignal.timeout(LIFE_MS)]);
  using _ = takePlace(context.store, principal.keyId ?? "");
  const events = new EventStream(response, "openai");
  const { promise: over, resolve } = Promise.withResolvers<void>();
  end.addEventListener("abort", () => resolve(), { once: true });
  if (end.aborted) resolve();
  // One at a time: what changes while a reader is slow is told once.
  let isSending = false;
  let isDue = false;
  const tell = async () => {
    isDue = true;
    if (isSending) return;
    isSending = true;
    while (isDue && !end.aborted) {
      isDue = false;
      await events.send("", "changed");
    }
    isSending = false;
  };
  // At once, so that the reader knows that it is heard.
  await events.send("", "hello");
  using _feed = changeFeedOf(context.store).watch(() => void tell());
  await over;
  events.end();
  return undefined;
}

/** @throws ApiError 429 when too many watch */
function takePlace(store: ConnectedStore, who: string): Disposable {
  const places = watching.get(store) ?? new Map<string, number>();
  watching.set(store, places);
  const own = places.get(who) ?? 0;
  const all = [...places.values()].reduce((sum, count) => sum + count, 0);
  if (all >= MAX_STREAMS || own >= MAX_OF_ONE)
    throw new ApiError({
      status: 429,
      code: "too_many_streams",
      message: "too many pages are watched live",
      hint: "ask now and then instead",
    });
  places.set(who, own + 1);
  return {
    [Symbol.dispose]: () => {
      const left = (places.get(who) ?? 1) - 1;
      if (left > 0) places.set(who, left);
      else places.delete(who);
    },
  };
}
