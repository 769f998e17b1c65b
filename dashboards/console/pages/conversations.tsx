import { clock, count, pretty, usd } from "../format.ts";
import { useLive } from "../live.ts";
import { Empty, Facts, Loaded, Panel } from "../parts/basic.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { go } from "../router.ts";
import type { ConversationView, ListedJob } from "../types.ts";

interface Talk {
  id: string;
  jobs: number;
  at: number;
  preview: string;
}

const COLUMNS: readonly Column<Talk>[] = [
  { label: "Conversation", cell: ({ id }) => <span class="mono">{id}</span> },
  { label: "Last call", cell: ({ at }) => clock(at) },
  { label: "Calls seen", isNumber: true, cell: ({ jobs }) => count(jobs) },
  { label: "It began so", grows: true, cell: ({ preview }) => preview },
];

/** Conversations of the latest jobs; any other is opened by its id. */
export function ConversationsPage() {
  const jobs = useLive<{ data: ListedJob[] }>("/api/jobs?conversations=true&limit=200", 5000);
  return (
    <>
      <div class="head">
        <h1>Conversations</h1>
      </div>
      <form
        class="filters"
        onSubmit={(event) => {
          event.preventDefault();
          const id = String(new FormData(event.currentTarget).get("id")).trim();
          if (id) go(`/conversations/${encodeURIComponent(id)}`);
        }}
      >
        <label class="filter">
          <span>Id</span>
          <input type="search" name="id" data-filter="" placeholder="conv-…" />
        </label>
        <button type="submit">Open</button>
      </form>
      <Panel>
        <Loaded live={jobs}>
          {({ data }) => (
            <Table
              label="Conversations"
              columns={COLUMNS}
              rows={talksOf(data)}
              keyOf={({ id }) => id}
              hrefOf={({ id }) => `/conversations/${encodeURIComponent(id)}`}
              empty="None of the latest jobs belongs to a conversation. Conversations are kept for 30 days: their ids open them."
            />
          )}
        </Loaded>
      </Panel>
    </>
  );
}

/** The newest job comes first, so that the last one seen of a conversation is its earliest. */
function talksOf(jobs: readonly ListedJob[]): Talk[] {
  const talks = new Map<string, Talk>();
  for (const { conversation, addedAt, preview = "" } of jobs) {
    if (!conversation) continue;
    const { jobs: seen, at } = talks.get(conversation) ?? { jobs: 0, at: addedAt };
    talks.set(conversation, { id: conversation, jobs: seen + 1, at, preview });
  }
  return [...talks.values()];
}

/** One conversation, message by message. */
export function ConversationPage({ id }: { id: string }) {
  const talk = useLive<ConversationView>(`/api/conversations/${encodeURIComponent(id)}`, 2000);
  return (
    <>
      <div class="head">
        <h1 class="mono">{id}</h1>
      </div>
      <Loaded live={talk}>
        {({ turns, calls, promptTokens, completionTokens, costUsd, hidden, data }) => (
          <>
            <Panel>
              <Facts
                of={[
                  ["Turns", count(turns)],
                  ["Calls", count(calls)],
                  ["Tokens", `${count(promptTokens)} in, ${count(completionTokens)} out`],
                  ["Cost", usd(costUsd)],
                  ["Jobs", <a href={`/jobs?text=${encodeURIComponent(id)}`}>of this conversation</a>],
                ]}
              />
            </Panel>
            <Panel title="Messages">
              {hidden > 0 && <Empty>{count(hidden)} earlier messages are not shown.</Empty>}
              {data.map(({ role, content, tool_calls, at, turn }, n) => (
                <div class={`turn ${role}`} key={`${turn} ${n}`}>
                  <div class="role">
                    {role}, turn {turn + 1}, {clock(at)}
                  </div>
                  <div class="text">
                    {content ? pretty(content) : tool_calls ? `calls tools: ${pretty(tool_calls)}` : ""}
                  </div>
                </div>
              ))}
            </Panel>
          </>
        )}
      </Loaded>
    </>
  );
}
