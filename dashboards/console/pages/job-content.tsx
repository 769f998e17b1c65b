import { clock, counted, duration } from "../format.ts";
import { Content, Fault } from "../parts/basic.tsx";
import { may } from "../session.ts";
import type { JobLife } from "../types.ts";

/** What a job was asked, what it tried, what its tools did, and what it answered. */
export function JobContent({ life }: { life: JobLife }) {
  const { attempts, log, outcome, content } = life;
  return (
    <>
      {outcome?.error && <Fault error={outcome.error as unknown as Error} />}
      {attempts.length > 0 && (
        <ol class="list" aria-label="Attempts">
          {attempts.map(({ at, attempt, code, message, againMs }) => (
            <li key={at}>
              <span>
                {clock(at)} attempt {attempt}
              </span>
              <span class="what">
                <strong>{code}</strong> {message}
              </span>
              <span class="muted">again in {duration(againMs)}</span>
            </li>
          ))}
        </ol>
      )}
      {log.length > 0 && (
        <details>
          <summary>Log, {counted(log.length, "line")}</summary>
          <Content title="As its workers wrote it" value={log.join("\n")} />
        </details>
      )}
      {content && <Messages request={content.request} />}
      {content?.input !== undefined && <Content title="Input" value={content.input} />}
      {outcome?.tools.map((tool, n) => (
        <Content
          key={n}
          title={`Tool ${tool.name}, ${duration(tool.durationMs)}${tool.error ? `, failed: ${tool.error}` : ""}`}
          value={tool.content ?? (may("content") ? "" : "needs the scope content")}
        />
      ))}
      {content && <Content title="Answer" value={textOf(content.answer)} />}
      {content?.output !== undefined && <Content title="Structured output" value={content.output} />}
      {!content && <p class="muted">Prompts and answers need the scope “content”.</p>}
    </>
  );
}

interface Message {
  role?: string;
  content?: unknown;
}

function Messages({ request }: { request: unknown }) {
  const messages = (Object(request) as { messages?: Message[] }).messages ?? [];
  if (messages.length === 0) return null;
  return (
    <>
      {messages.map(({ role = "", content }, n) => (
        <Content key={n} title={role} value={content} />
      ))}
    </>
  );
}

/** The text of a chat.completion body; what has none, whole. */
function textOf(answer: unknown): unknown {
  const { choices } = Object(answer) as {
    choices?: { message?: { content?: string | null; tool_calls?: unknown } }[];
  };
  const message = choices?.[0]?.message;
  return message?.content || message?.tool_calls || answer;
}
