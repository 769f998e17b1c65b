import { useState } from "preact/hooks";
import type { ApiKey, User } from "../access-types.ts";
import { post, put, remove } from "../api.ts";
import { count, usd } from "../format.ts";
import { useLive } from "../live.ts";
import { Badge, Loaded, Panel, Time } from "../parts/basic.tsx";
import { Action } from "../parts/dialog.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { session } from "../session.ts";

const ROLES: readonly (readonly [role: string, may: string])[] = [
  ["viewer", "sees states, counts and cost"],
  ["operator", "sees prompts and answers, asks models, pauses, cancels, retries"],
  ["admin", "everything: keys, roles, webhooks"],
];

const KEY_COLUMNS: readonly Column<ApiKey>[] = [
  { label: "Key", cell: ({ id, name }) => (name === "" ? `${id.slice(0, 12)}…` : name) },
  { label: "State", cell: ({ state }) => <Badge state={state} tone={state === "valid" ? "ok" : "off"} /> },
  { label: "Tenant", cell: ({ tenant }) => tenant },
  { label: "Role", cell: ({ role, scopes }) => role ?? scopes.join(", ") },
  { label: "Requests", isNumber: true, isWide: true, cell: ({ requests }) => count(requests) },
  { label: "Spent", isNumber: true, isWide: true, cell: ({ spentUsd }) => usd(spentUsd) },
  { label: "Last used", isWide: true, cell: ({ lastUsedAt }) => <Time at={lastUsedAt} ago /> },
  { label: "Ends", isWide: true, cell: ({ expiresAt }) => <Time at={expiresAt} ago /> },
  { label: "Id", isWide: true, grows: true, cell: ({ id }) => <code>{id}</code> },
  { label: "Act", cell: (key) => <Revoke of={key} /> },
];

const USER_COLUMNS: readonly Column<User>[] = [
  { label: "User", grows: true, cell: ({ user }) => user },
  { label: "Role", cell: ({ role }) => role ?? <Badge state="damaged" tone="bad" /> },
  { label: "Tenant", cell: ({ tenant }) => tenant ?? "" },
  {
    label: "Act",
    cell: (user) =>
      user.user === session.value?.user ? (
        "you"
      ) : (
        <>
          <SetRole user={user} /> <RemoveRole user={user} />
        </>
      ),
  },
];

/** Who may do what: keys, and users of single sign-on. */
export function AccessPage() {
  const keys = useLive<{ data: ApiKey[] }>("/api/keys", 5000);
  const users = useLive<{ data: User[]; sso: { defaultRole: string | null } | null }>("/api/users", 5000);
  const [made, setMade] = useState<{ id: string; key: string }>();
  const { user, keyId, by, role } = session.value ?? {};
  return (
    <>
      <div class="head">
        <h1>Access</h1>
        <div class="side muted">
          you are {user ?? keyId ?? `here by the ${by}`}
          {role && `, ${role}`}
        </div>
      </div>
      <Panel>
        <dl class="facts">
          {ROLES.map(([name, may]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{may}</dd>
            </div>
          ))}
        </dl>
      </Panel>
      {made && (
        <Panel
          title="The new key"
          side={
            <button type="button" onClick={() => setMade(undefined)}>
              I have it
            </button>
          }
        >
          <p>
            This is the only time that it is shown. <code>{made.key}</code>
          </p>
        </Panel>
      )}
      <Panel title="Keys" side={<MakeKey onMade={setMade} />}>
        <Loaded live={keys}>
          {({ data }) => (
            <Table
              label="Keys"
              columns={KEY_COLUMNS}
              rows={data}
              keyOf={({ id }) => id}
              empty="There is no key."
            />
          )}
        </Loaded>
      </Panel>
      <Panel title="Users" side={<SetRole />}>
        <Loaded live={users}>
          {({ data, sso }) => (
            <>
              <p class="empty">
                {sso === null
                  ? "Single sign-on is not set up: GLUELLM_SSO_USER_HEADER. Roles that are given now count once it is."
                  : sso.defaultRole === null
                    ? "Who has no role here does not get in."
                    : `Who has no role here is ${sso.defaultRole}.`}
              </p>
              <Table
                label="Users"
                columns={USER_COLUMNS}
                rows={data}
                keyOf={({ user: name }) => name}
                empty="No user has a role of their own."
              />
            </>
          )}
        </Loaded>
      </Panel>
    </>
  );
}

function RoleAndTenant({
  role = "viewer",
  tenant = session.value?.tenant,
}: {
  role?: string;
  tenant?: string | undefined;
}) {
  return (
    <>
      <label>
        Role
        <select name="role" defaultValue={role}>
          {ROLES.map(([name, may]) => (
            <option key={name} value={name} selected={name === role}>
              {name}: {may}
            </option>
          ))}
        </select>
      </label>
      <label>
        Tenant
        <input name="tenant" required defaultValue={tenant} pattern="[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}" />
      </label>
    </>
  );
}

const text = (form: FormData, name: string) => String(form.get(name) ?? "").trim() || undefined;

function MakeKey({ onMade }: { onMade: (made: { id: string; key: string }) => void }) {
  return (
    <Action
      label="Make a key"
      scope="admin"
      explain={
        <p>
          Whoever has the key may do what its role says, at the cost of your account, until it is revoked or
          ends.
        </p>
      }
      fields={
        <div class="form">
          <label>
            Name
            <input name="name" maxLength={100} required />
          </label>
          <RoleAndTenant />
          <label>
            Ends after days
            <input name="days" type="number" min="1" step="1" placeholder="never" />
          </label>
          <label>
            USD that its calls may cost
            <input name="usd" type="number" min="0" step="any" placeholder="no limit" />
          </label>
        </div>
      }
      act={async (form) => {
        const [days, most] = [text(form, "days"), text(form, "usd")];
        const made = await post<{ id: string; key: string }>("/api/keys", {
          name: text(form, "name"),
          role: text(form, "role"),
          tenant: text(form, "tenant"),
          ...(days !== undefined && { expiresInSeconds: Number(days) * 86_400 }),
          ...(most !== undefined && { maxCostUsd: Number(most) }),
        });
        onMade(made);
        return "The key is made.";
      }}
    />
  );
}

function Revoke({ of: { id, name, state } }: { of: ApiKey }) {
  if (state !== "valid") return null;
  return (
    <Action
      label="Revoke"
      scope="admin"
      isDangerous
      explain={
        <p>
          The next request with {name || id} is refused, and logins by it end. Jobs that it made go on. It
          costs nothing, and cannot be undone.
        </p>
      }
      act={async () => {
        await remove(`/api/keys/${encodeURIComponent(id)}`);
        return "The key is revoked.";
      }}
    />
  );
}

function SetRole({ user }: { user?: User }) {
  return (
    <Action
      label={user ? "Change" : "Give a role"}
      scope="admin"
      explain={<p>It holds from the user’s next request on, and costs nothing.</p>}
      fields={
        <div class="form">
          {!user && (
            <label>
              User, as the proxy names them
              <input name="user" required maxLength={200} />
            </label>
          )}
          <RoleAndTenant
            {...(user?.role && { role: user.role })}
            tenant={user?.tenant ?? session.value?.tenant}
          />
        </div>
      }
      act={async (form) => {
        const name = user?.user ?? text(form, "user") ?? "";
        const { role, user: named } = await put<User>(`/api/users/${encodeURIComponent(name)}`, {
          ...{ role: text(form, "role"), tenant: text(form, "tenant") },
        });
        return `${named} is ${role}.`;
      }}
    />
  );
}

function RemoveRole({ user: { user } }: { user: User }) {
  return (
    <Action
      label="Remove"
      scope="admin"
      isDangerous
      explain={
        <p>
          {user} has no role of their own then: from the next request on the default holds, if there is one.
        </p>
      }
      act={async () => {
        await remove(`/api/users/${encodeURIComponent(user)}`);
        return `${user} has no role of their own any more.`;
      }}
    />
  );
}
