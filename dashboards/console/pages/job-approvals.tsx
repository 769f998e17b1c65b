import { post } from "../api.ts";
import { useLive } from "../live.ts";
import { Content, Loaded, Panel, Time } from "../parts/basic.tsx";
import { Action } from "../parts/dialog.tsx";

const SCOPE = ["complete", "operate"] as const;

/** A call of a tool that waits for a person. */
interface Approval {
  jobId: string;
  callId: string;
  toolName: string;
  /** Absent without the scope content. */
  arguments?: unknown;
  agent?: string;
  askedAt: number;
  expiresAt: number;
}

/** The calls of a job's tools that wait for a person, with the answers to them. */
export function JobApprovals({ path }: { path: string }) {
  const approvals = useLive<{ data: Approval[] }>(`${path}/approvals`, 2000);
  return (
    <Panel title="What waits for a person">
      <div class="body">
        <Loaded live={approvals}>
          {({ data }) => (
            <>
              {data.length === 0 && <p>Nothing: the job waits for the job of another agent.</p>}
              {data.map((approval) => (
                <Question key={approval.callId} path={path} approval={approval} />
              ))}
            </>
          )}
        </Loaded>
      </div>
    </Panel>
  );
}

function Question({ path, approval }: { path: string; approval: Approval }) {
  const { callId, toolName, agent, expiresAt } = approval;
  const args = <Content title="Arguments" value={approval.arguments} />;
  return (
    <section class="question">
      <p>
        {agent ? `The agent ${agent}` : "The model"} wants to call <b>{toolName}</b>; until{" "}
        <Time at={expiresAt} />.
      </p>
      {args}
      <div class="buttons">
        <Action
          label="Approve"
          scope={SCOPE}
          explain={
            <>
              <p>
                The worker runs this call of <b>{toolName}</b>, and the job goes on.
              </p>
              {args}
            </>
          }
          act={async () => {
            await post(`${path}/approve`, { callId });
            return "The call is allowed.";
          }}
        />
        <Action
          label="Reject"
          isDangerous
          scope={SCOPE}
          explain={<p>The call is not run. The model reads why, and the job goes on.</p>}
          fields={
            <label>
              Reason
              <input name="reason" maxLength={2000} />
            </label>
          }
          act={async (form) => {
            const reason = String(form.get("reason") ?? "");
            await post(`${path}/reject`, { callId, ...(reason !== "" && { reason }) });
            return "The call is rejected.";
          }}
        />
      </div>
    </section>
  );
}
